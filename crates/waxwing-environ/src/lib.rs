//! waxwing-environ
