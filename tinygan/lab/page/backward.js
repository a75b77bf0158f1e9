import { translatePage } from "./words.js";
translatePage();
