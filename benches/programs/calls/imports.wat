;; Calls a function that comes from elsewhere, in a loop that adds one in every round.
(module
  (import "elsewhere" "add" (func $add (param i64 i64) (result i64)))
  (func (export "run") (param $rounds i32) (result i64)
    (local $sum i64)
    (loop $round
      (local.set $sum (call $add (local.get $sum) (i64.const 1)))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum)))
