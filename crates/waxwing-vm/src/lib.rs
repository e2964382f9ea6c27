//! waxwing-vm
