;; What the host calls, and calls that stay within a module. Each loop adds one in every round, so that all return the number of rounds.
(module
  (type $binary (func (param i64 i64) (result i64)))
  (table $functions (export "functions") 4 4 funcref)
  (elem (table $functions) (i32.const 0) func $add $add_too $add $add_too)
  (global $function (mut (ref $binary)) (ref.func $add))
  (elem declare func $add)

  (func $nop (export "nop"))

  (func $add (export "add") (param i64 i64) (result i64)
    (i64.add (local.get 0) (local.get 1)))

  (func $add_too (param i64 i64) (result i64)
    (i64.sub (local.get 0) (i64.sub (i64.const 0) (local.get 1))))

  (func (export "direct") (param $rounds i32) (result i64)
    (local $sum i64)
    (loop $round
      (local.set $sum (call $add (local.get $sum) (i64.const 1)))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum))

  ;; A hundred frames deep.
  (func $depth (param $frames i32) (result i64)
    (if (result i64) (local.get $frames)
      (then (i64.add (i64.const 1) (call $depth (i32.sub (local.get $frames) (i32.const 1)))))
      (else (i64.const 0))))

  (func (export "recursive") (param $rounds i32) (result i64)
    (local $sum i64)
    (loop $round
      (local.set $sum (i64.add (local.get $sum) (call $depth (i32.const 100))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 100)))))
    (local.get $sum))

  ;; Of two functions in turn.
  (func (export "call_indirect") (param $rounds i32) (result i64)
    (local $sum i64)
    (loop $round
      (local.set $sum
        (call_indirect $functions (type $binary)
          (local.get $sum) (i64.const 1) (i32.and (local.get $rounds) (i32.const 3))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum))

  (func (export "call_ref") (param $rounds i32) (result i64)
    (local $sum i64)
    (loop $round
      (local.set $sum (call_ref $binary (local.get $sum) (i64.const 1) (global.get $function)))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum)))
