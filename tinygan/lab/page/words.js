// The words of all pages, in English and in Korean.

const KOREAN = {
  "The laboratory": "GAN 실험실",
  "one backward pass": "역전파 한 번",
  "the game": "게임",
  "play": "재생",
  "pause": "멈춤",
  "one step": "한 스텝",
  "half a step": "반 스텝",
  "begin again": "처음부터",
  "show me the code": "코드 보기",
  "draw points": "점 그리기",
  "use these points": "이 점들로 시작",
  "clear": "지우기",
  "speed": "속도",
  "slow motion": "느리게",
  "steps a frame": "스텝/화면",
  "show": "보기",
  "arrows": "화살표",
  "grid of latents": "잠재 벡터의 격자",
  "optimal D": "최적의 D",
  "preset": "예제",
  "(your own)": "(직접 고름)",
  "data and seed": "데이터와 시드",
  "loss and penalties": "손실과 페널티",
  "optimiser": "옵티마이저",
  "networks": "신경망",
  "all other settings": "나머지 설정",
  "copy": "복사",
  "save": "저장",
  "close": "닫기",
  "real": "진짜",
  "fake": "가짜",
  "loss of D": "D의 손실",
  "loss of G": "G의 손실",
  "share that D tells right": "D가 맞힌 비율",
  "steps": "스텝",
  "D's turn": "D의 차례",
  "G's turn": "G의 차례",
  "D has learned: the map has changed. Next, G moves along the arrows.":
    "D가 배웠습니다. 지도가 바뀌었습니다. 다음은 G가 화살표를 따라 움직입니다.",
  "G has moved its fakes (lines: from where). Next, D learns.":
    "G가 가짜를 옮겼습니다(선: 옮기기 전 자리). 다음은 D가 배웁니다.",
  "D's output from": "D의 출력 범위",
  "to": "~",
  "divergence": "발산(JSD)",
  "D's bound": "D의 하한",
  "no answer":
    "실험실이 응답하지 않습니다. `tinygan lab`을 다시 시작하고 새 주소를 여세요.",
  "points": "점",
  "Draw with the pointer, or move with the arrow keys and press Enter.":
    "포인터로 그리거나, 화살표 키로 움직이고 Enter를 누르세요.",
  "this address holds no settings that can be read":
    "이 주소에는 읽을 수 있는 설정이 없습니다",
  "The explorer": "탐색기",
  "direction": "방향",
  "class": "클래스",
  "all classes on the sheet": "시트에 모든 클래스",
  "truncation": "truncation",
  "noise": "노이즈",
  "on": "켬",
  "off": "끔",
  "another image": "다른 이미지",
  "click an image to go there": "이미지를 누르면 그리로 갑니다",
  "nearest training image": "가장 가까운 학습 이미지",
  "a walk between four latents": "네 잠재 벡터 사이를 걷기",
  "save the picture": "그림 저장",
  "save the walk": "걷기를 GIF로 저장",
  "mix styles from": "섞을 스타일",
  "none": "없음",
  "layers": "층",
  "project an image": "이미지를 투영",
  "real image number": "진짜 이미지 번호",
  "forward": "앞으로",
  "back": "뒤로",
  "expression": "식",
  "order": "차수",
  "forward: the value of an op follows from those above it":
    "순전파: 연산의 값은 위의 값들에서 나온다",
  "backward: an op of the backward pass, which is a graph as well":
    "역전파: 역전파의 연산. 역전파도 그래프다",
  "second order: how the result changes with this value":
    "2차: 이 값이 바뀌면 결과가 얼마나 바뀌는가",
};
const MORE_ENGLISH = {
  "no answer":
    "The laboratory does not answer: start `tinygan lab` again, and open its address.",
};

let language = localStorage.getItem("language") || (navigator.language || "en").slice(0, 2);

export function t(english) {
  if (language === "ko") return KOREAN[english] ?? english;
  return MORE_ENGLISH[english] ?? english;
}

// Fill in the texts of the elements with data-t, and let the button with id "language" switch.
export function translatePage() {
  document.documentElement.lang = language === "ko" ? "ko" : "en";
  for (const part of document.querySelectorAll("[data-t]")) part.textContent = t(part.dataset.t);
  const button = document.getElementById("language");
  button.textContent = language === "ko" ? "English" : "한국어";
  button.onclick = () => {
    localStorage.setItem("language", language === "ko" ? "en" : "ko");
    location.reload();
  };
}
