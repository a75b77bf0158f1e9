"""What makes two networks a GAN: losses, penalties, class conditioning, augmentation."""
