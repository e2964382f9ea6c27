;; A queue of 16384 cells. Each step appends a cell and drops the oldest, so that every cell is stored into one that is
;; older, and each dies after the same time, the worst age for generations. After each 16384 steps the queue is reversed in place.
(module
  (type $cell (struct (field $value i32) (field $next (mut (ref null $cell)))))

  (func $reverse (param $list (ref null $cell)) (result (ref null $cell))
    (local $reversed (ref null $cell)) (local $next (ref null $cell))
    (block $done
      (loop $cells
        (br_if $done (ref.is_null (local.get $list)))
        (local.set $next (struct.get $cell $next (local.get $list)))
        (struct.set $cell $next (local.get $list) (local.get $reversed))
        (local.set $reversed (local.get $list))
        (local.set $list (local.get $next))
        (br $cells)))
    (local.get $reversed))

  (func $mix (param $sum i64) (param $value i32) (result i64)
    (i64.add (i64.rotl (local.get $sum) (i64.const 5)) (i64.extend_i32_u (local.get $value))))

  ;; The values in the order in which they leave the queue, mixed, after $rounds times 16384 steps.
  (func (export "run") (param $rounds i32) (result i64)
    (local $head (ref null $cell)) (local $tail (ref null $cell)) (local $cell (ref null $cell))
    (local $value i32) (local $left i32) (local $sum i64)
    (local.set $head (struct.new $cell (i32.const 0) (ref.null none)))
    (local.set $tail (local.get $head))
    (loop $fill
      (local.set $value (i32.add (local.get $value) (i32.const 1)))
      (local.set $cell (struct.new $cell (local.get $value) (ref.null none)))
      (struct.set $cell $next (local.get $tail) (local.get $cell))
      (local.set $tail (local.get $cell))
      (br_if $fill (i32.lt_u (local.get $value) (i32.const 16383))))
    (loop $rounds
      (local.set $left (i32.const 16384))
      (loop $steps
        (local.set $value (i32.add (local.get $value) (i32.const 1)))
        (local.set $cell (struct.new $cell (local.get $value) (ref.null none)))
        (struct.set $cell $next (local.get $tail) (local.get $cell))
        (local.set $tail (local.get $cell))
        (local.set $sum (call $mix (local.get $sum) (struct.get $cell $value (local.get $head))))
        (local.set $head (struct.get $cell $next (local.get $head)))
        (br_if $steps (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (local.set $tail (local.get $head))
      (local.set $head (call $reverse (local.get $head)))
      (br_if $rounds (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (loop $drain
      (local.set $sum (call $mix (local.get $sum) (struct.get $cell $value (local.get $head))))
      (br_if $drain
        (i32.eqz (ref.is_null (local.tee $head (struct.get $cell $next (local.get $head)))))))
    (local.get $sum)))
