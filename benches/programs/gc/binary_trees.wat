;; Binary trees of the Computer Language Benchmarks Game: many short-lived trees beside one that lives long.
(module
  (type $tree (struct (field $left (ref null $tree)) (field $right (ref null $tree))))

  (func $build (param $depth i32) (result (ref $tree))
    (if (result (ref $tree)) (i32.eqz (local.get $depth))
      (then (struct.new $tree (ref.null none) (ref.null none)))
      (else
        (struct.new $tree
          (call $build (i32.sub (local.get $depth) (i32.const 1)))
          (call $build (i32.sub (local.get $depth) (i32.const 1)))))))

  ;; The number of nodes.
  (func $count (param $tree (ref $tree)) (result i32)
    (local $left (ref null $tree))
    (local.set $left (struct.get $tree $left (local.get $tree)))
    (if (result i32) (ref.is_null (local.get $left))
      (then (i32.const 1))
      (else
        (i32.add
          (i32.const 1)
          (i32.add
            (call $count (ref.as_non_null (local.get $left)))
            (call $count (ref.as_non_null (struct.get $tree $right (local.get $tree)))))))))

  ;; All nodes counted in trees of depths 4, 6 … $depth, in a tree that is one deeper, and in one that lives throughout.
  (func (export "run") (param $depth i32) (result i64)
    (local $long_lived (ref $tree))
    (local $sum i64) (local $level i32) (local $left i32)
    (local.set $sum
      (i64.extend_i32_u (call $count (call $build (i32.add (local.get $depth) (i32.const 1))))))
    (local.set $long_lived (call $build (local.get $depth)))
    (local.set $level (i32.const 4))
    (loop $levels
      (local.set $left
        (i32.shl
          (i32.const 1)
          (i32.add (i32.sub (local.get $depth) (local.get $level)) (i32.const 4))))
      (loop $trees
        (local.set $sum
          (i64.add
            (local.get $sum)
            (i64.extend_i32_u (call $count (call $build (local.get $level))))))
        (br_if $trees (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (local.set $level (i32.add (local.get $level) (i32.const 2)))
      (br_if $levels (i32.le_u (local.get $level) (local.get $depth))))
    (i64.add (local.get $sum) (i64.extend_i32_u (call $count (local.get $long_lived))))))
