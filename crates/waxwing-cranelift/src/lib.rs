//! waxwing-cranelift
