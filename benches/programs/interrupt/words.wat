;; Counts the words of a text of a mebibyte, $n times over, with a call of a small function for each byte.
(module
  (memory 16)
  (func $is_space (param $c i32) (result i32)
    (i32.or (i32.eq (local.get $c) (i32.const 32))
      (i32.lt_u (i32.sub (local.get $c) (i32.const 9)) (i32.const 5))))
  (func (export "run") (param $n i32) (result i64)
    (local $at i32) (local $x i32) (local $in i32) (local $space i32) (local $count i64)
    (local.set $x (i32.const 1))
    (loop $fill
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store8 (local.get $at) (select (i32.const 32) (i32.const 97)
        (i32.lt_u (i32.shr_u (local.get $x) (i32.const 24)) (i32.const 48))))
      (br_if $fill (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 0x100000))))
    (loop $again
      (local.set $at (i32.const 0))
      (local.set $in (i32.const 0))
      (loop $bytes
        (local.set $space (call $is_space (i32.load8_u (local.get $at))))
        (if (i32.and (i32.eqz (local.get $in)) (i32.eqz (local.get $space)))
          (then (local.set $count (i64.add (local.get $count) (i64.const 1)))))
        (local.set $in (i32.eqz (local.get $space)))
        (br_if $bytes (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 0x100000))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $count)))
