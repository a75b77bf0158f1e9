"""What makes two networks a GAN: losses, penalties, ways to give a class, augmentation."""
