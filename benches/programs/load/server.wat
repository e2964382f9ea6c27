;; A guest that serves requests, one after the other. Between two it waits in the host. Request -1 ends it, and -2 makes it
;; loop for ever.
(module
  (import "host" "recv" (func $recv (result i32)))
  (import "host" "reply" (func $reply (param i32 i32)))
  (memory (export "memory") 2)
  (table 4 funcref)
  (elem (i32.const 0) func $mix)
  (data (i32.const 1024) "a table that the guest came with, and reads: 0123456789abcdefghijklmnopqrstuvwxyz")
  (func $mix (param $x i32) (result i32)
    (local $i i32)
    (loop $bytes
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 31))
        (i32.load8_u offset=1024 (local.get $i))))
      (br_if $bytes (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
    (local.get $x))
  (func (export "serve")
    (local $request i32)
    (loop $next
      (local.set $request (call $recv))
      (if (i32.eq (local.get $request) (i32.const -1)) (then (return)))
      (if (i32.eq (local.get $request) (i32.const -2)) (then (loop $ever (br $ever))))
      (i32.store (i32.const 65536) (local.get $request))
      (call $reply (local.get $request)
        (call_indirect (param i32) (result i32) (i32.load (i32.const 65536)) (i32.const 0)))
      (br $next))))
