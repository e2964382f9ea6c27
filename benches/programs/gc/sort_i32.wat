;; Quicksort, with insertion sort for short ranges, of an array of numbers.
(module
  (type $numbers (array (mut i32)))

  (func $random (param $state i32) (result i32)
    (i32.add (i32.mul (local.get $state) (i32.const 1664525)) (i32.const 1013904223)))

  ;; Sorts $from..$to.
  (func $insertion_sort (param $a (ref $numbers)) (param $from i32) (param $to i32)
    (local $i i32) (local $j i32) (local $value i32) (local $other i32)
    (local.set $i (i32.add (local.get $from) (i32.const 1)))
    (block $sorted
      (loop $elements
        (br_if $sorted (i32.ge_s (local.get $i) (local.get $to)))
        (local.set $value (array.get $numbers (local.get $a) (local.get $i)))
        (local.set $j (local.get $i))
        (block $found
          (loop $search
            (br_if $found (i32.le_s (local.get $j) (local.get $from)))
            (local.set $other
              (array.get $numbers (local.get $a) (i32.sub (local.get $j) (i32.const 1))))
            (br_if $found (i32.le_s (local.get $other) (local.get $value)))
            (array.set $numbers (local.get $a) (local.get $j) (local.get $other))
            (local.set $j (i32.sub (local.get $j) (i32.const 1)))
            (br $search)))
        (array.set $numbers (local.get $a) (local.get $j) (local.get $value))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $elements))))

  ;; Sorts $from..$to by Hoare's partition.
  (func $quicksort (param $a (ref $numbers)) (param $from i32) (param $to i32)
    (local $low i32) (local $high i32) (local $pivot i32) (local $x i32) (local $y i32)
    (if (i32.le_s (i32.sub (local.get $to) (local.get $from)) (i32.const 16))
      (then
        (call $insertion_sort (local.get $a) (local.get $from) (local.get $to))
        (return)))
    (local.set $pivot
      (array.get $numbers
        (local.get $a)
        (i32.shr_u (i32.add (local.get $from) (local.get $to)) (i32.const 1))))
    (local.set $low (local.get $from))
    (local.set $high (i32.sub (local.get $to) (i32.const 1)))
    (block $partitioned
      (loop $partition
        (block $found_low
          (loop $up
            (local.set $x (array.get $numbers (local.get $a) (local.get $low)))
            (br_if $found_low (i32.ge_s (local.get $x) (local.get $pivot)))
            (local.set $low (i32.add (local.get $low) (i32.const 1)))
            (br $up)))
        (block $found_high
          (loop $down
            (local.set $y (array.get $numbers (local.get $a) (local.get $high)))
            (br_if $found_high (i32.le_s (local.get $y) (local.get $pivot)))
            (local.set $high (i32.sub (local.get $high) (i32.const 1)))
            (br $down)))
        (br_if $partitioned (i32.gt_s (local.get $low) (local.get $high)))
        (array.set $numbers (local.get $a) (local.get $low) (local.get $y))
        (array.set $numbers (local.get $a) (local.get $high) (local.get $x))
        (local.set $low (i32.add (local.get $low) (i32.const 1)))
        (local.set $high (i32.sub (local.get $high) (i32.const 1)))
        (br_if $partition (i32.le_s (local.get $low) (local.get $high)))))
    (call $quicksort (local.get $a) (local.get $from) (i32.add (local.get $high) (i32.const 1)))
    (call $quicksort (local.get $a) (local.get $low) (local.get $to)))

  ;; The sum of rank times value of $length sorted random numbers.
  (func (export "run") (param $length i32) (result i64)
    (local $a (ref $numbers)) (local $i i32) (local $state i32) (local $value i32) (local $last i32)
    (local $sum i64)
    (local.set $a (array.new_default $numbers (local.get $length)))
    (local.set $state (i32.const 42))
    (loop $fill
      (local.set $state (call $random (local.get $state)))
      (array.set $numbers (local.get $a) (local.get $i) (i32.shr_u (local.get $state) (i32.const 4)))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $length))))
    (call $quicksort (local.get $a) (i32.const 0) (local.get $length))
    (local.set $i (i32.const 0))
    (loop $check
      (local.set $value (array.get $numbers (local.get $a) (local.get $i)))
      (if (i32.lt_s (local.get $value) (local.get $last)) (then (return (i64.const -1))))
      (local.set $last (local.get $value))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $sum
        (i64.add
          (local.get $sum)
          (i64.mul
            (i64.extend_i32_u (local.get $value))
            (i64.extend_i32_u (local.get $i)))))
      (br_if $check (i32.lt_u (local.get $i) (local.get $length))))
    (local.get $sum)))
