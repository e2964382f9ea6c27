;; A stable merge sort, bottom up, of an array of references to structs: every store into an array is one of a
;; reference, and keys are read through references.
(module
  (type $item (struct (field $key i32) (field $place i32)))
  (type $items (array (mut (ref null $item))))

  (func $random (param $state i32) (result i32)
    (i32.add (i32.mul (local.get $state) (i32.const 1664525)) (i32.const 1013904223)))

  (func $min (param $a i32) (param $b i32) (result i32)
    (select
      (local.get $a)
      (local.get $b)
      (i32.lt_u (local.get $a) (local.get $b))))

  ;; Merges $low..$middle and $middle..$high of $from into $low..$high of $to.
  (func $merge (param $from (ref $items)) (param $to (ref $items))
    (param $low i32) (param $middle i32) (param $high i32)
    (local $i i32) (local $j i32) (local $k i32) (local $left (ref null $item)) (local $right (ref null $item))
    (local.set $i (local.get $low))
    (local.set $j (local.get $middle))
    (local.set $k (local.get $low))
    (block $merged
      (loop $elements
        (br_if $merged (i32.ge_u (local.get $i) (local.get $middle)))
        (br_if $merged (i32.ge_u (local.get $j) (local.get $high)))
        (local.set $left (array.get $items (local.get $from) (local.get $i)))
        (local.set $right (array.get $items (local.get $from) (local.get $j)))
        (if
          (i32.le_s
            (struct.get $item $key (local.get $left))
            (struct.get $item $key (local.get $right)))
          (then
            (array.set $items (local.get $to) (local.get $k) (local.get $left))
            (local.set $i (i32.add (local.get $i) (i32.const 1))))
          (else
            (array.set $items (local.get $to) (local.get $k) (local.get $right))
            (local.set $j (i32.add (local.get $j) (i32.const 1)))))
        (local.set $k (i32.add (local.get $k) (i32.const 1)))
        (br $elements)))
    ;; Of the two rests, one is empty.
    (array.copy $items $items
      (local.get $to)
      (local.get $k)
      (local.get $from)
      (local.get $i)
      (i32.sub (local.get $middle) (local.get $i)))
    (array.copy $items $items
      (local.get $to)
      (i32.add (local.get $k) (i32.sub (local.get $middle) (local.get $i)))
      (local.get $from)
      (local.get $j)
      (i32.sub (local.get $high) (local.get $j))))

  (func $sort (param $items (ref $items)) (result (ref $items))
    (local $other (ref $items)) (local $swap (ref $items))
    (local $length i32) (local $width i32) (local $low i32)
    (local.set $length (array.len (local.get $items)))
    (local.set $other (array.new_default $items (local.get $length)))
    (local.set $width (i32.const 1))
    (loop $passes
      (local.set $low (i32.const 0))
      (loop $pairs
        (call $merge
          (local.get $items)
          (local.get $other)
          (local.get $low)
          (call $min (i32.add (local.get $low) (local.get $width)) (local.get $length))
          (call $min
            (i32.add (local.get $low) (i32.shl (local.get $width) (i32.const 1)))
            (local.get $length)))
        (local.set $low (i32.add (local.get $low) (i32.shl (local.get $width) (i32.const 1))))
        (br_if $pairs (i32.lt_u (local.get $low) (local.get $length))))
      (local.set $swap (local.get $items))
      (local.set $items (local.get $other))
      (local.set $other (local.get $swap))
      (local.set $width (i32.shl (local.get $width) (i32.const 1)))
      (br_if $passes (i32.lt_u (local.get $width) (local.get $length))))
    (local.get $items))

  ;; The sum of rank times former place of $length items with random keys, sorted.
  (func (export "run") (param $length i32) (result i64)
    (local $items (ref $items)) (local $item (ref null $item)) (local $i i32) (local $state i32) (local $last i32)
    (local $sum i64)
    (local.set $items (array.new_default $items (local.get $length)))
    (local.set $state (i32.const 42))
    (loop $fill
      (local.set $state (call $random (local.get $state)))
      (array.set $items
        (local.get $items)
        (local.get $i)
        (struct.new $item (i32.shr_u (local.get $state) (i32.const 12)) (local.get $i)))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $length))))
    (local.set $items (call $sort (local.get $items)))
    (local.set $i (i32.const 0))
    (loop $check
      (local.set $item (array.get $items (local.get $items) (local.get $i)))
      (if (i32.lt_s (struct.get $item $key (local.get $item)) (local.get $last))
        (then (return (i64.const -1))))
      (local.set $last (struct.get $item $key (local.get $item)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $sum
        (i64.add
          (local.get $sum)
          (i64.mul
            (i64.extend_i32_u (struct.get $item $place (local.get $item)))
            (i64.extend_i32_u (local.get $i)))))
      (br_if $check (i32.lt_u (local.get $i) (local.get $length))))
    (local.get $sum)))
