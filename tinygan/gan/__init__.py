"""What makes networks a GAN: losses, penalties, the ways to give a class, augmentation. For any G and any D."""
