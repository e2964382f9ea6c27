;; What is instantiated: a memory with an image, a table with functions, and globals, as compilers of C and Rust make them.
;; The harness puts the image's bytes in place of IMAGE, and the size of the memory in place of PAGES.
(module
  (memory (export "memory") PAGES)
  (table (export "table") 16 funcref)
  (global $stack (export "stack") (mut i32) (i32.const 0x10000))
  (global $base i32 (i32.const 0x10000))
  (data (i32.const 0x10000) "IMAGE")
  (elem (i32.const 1) func $a $b $a $b $a $b)
  (func $a (param i32) (result i32) (local.get 0))
  (func $b (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  ;; Writes to a page of the image, and reads the byte behind.
  (func (export "touch") (param $at i32) (result i64)
    (i32.store8 (local.get $at) (i32.const 1))
    (i64.load8_u offset=1 (local.get $at))))
