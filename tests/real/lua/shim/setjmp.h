/* Stands in front of the C library's header, which WebAssembly without exceptions does not have. */
