;; Quicksort of $n random integers in a linear memory, at most 2^20. Returns a sum that depends on their order.
(module
  (memory 64)
  (func $sort (param $low i32) (param $high i32)
    (local $i i32) (local $j i32) (local $pivot i32) (local $x i32)
    (loop $again
      (if (i32.ge_u (local.get $low) (local.get $high)) (then (return)))
      (local.set $pivot (i32.load (i32.and
        (i32.add (i32.shr_u (local.get $low) (i32.const 1)) (i32.shr_u (local.get $high) (i32.const 1)))
        (i32.const -4))))
      (local.set $i (i32.sub (local.get $low) (i32.const 4)))
      (local.set $j (i32.add (local.get $high) (i32.const 4)))
      (block $parted
        (loop $partition
          (loop $up
            (local.set $i (i32.add (local.get $i) (i32.const 4)))
            (br_if $up (i32.lt_s (i32.load (local.get $i)) (local.get $pivot))))
          (loop $down
            (local.set $j (i32.sub (local.get $j) (i32.const 4)))
            (br_if $down (i32.gt_s (i32.load (local.get $j)) (local.get $pivot))))
          (br_if $parted (i32.ge_s (local.get $i) (local.get $j)))
          (local.set $x (i32.load (local.get $i)))
          (i32.store (local.get $i) (i32.load (local.get $j)))
          (i32.store (local.get $j) (local.get $x))
          (br $partition)))
      (call $sort (local.get $low) (local.get $j))
      (local.set $low (i32.add (local.get $j) (i32.const 4)))
      (br $again)))
  (func (export "run") (param $n i32) (result i64)
    (local $at i32) (local $end i32) (local $x i32) (local $sum i64)
    (local.set $end (i32.shl (local.get $n) (i32.const 2)))
    (local.set $x (i32.const 12345))
    (loop $fill
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
      (i32.store (local.get $at) (i32.shr_u (local.get $x) (i32.const 4)))
      (br_if $fill (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (local.get $end))))
    (call $sort (i32.const 0) (i32.sub (local.get $end) (i32.const 4)))
    (local.set $at (i32.const 0))
    (loop $check
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load32_s (local.get $at))))
      (br_if $check (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (local.get $end))))
    (local.get $sum)))
