//! waxwing-wast
