//! waxwing-wasi
