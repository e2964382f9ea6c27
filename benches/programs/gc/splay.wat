;; A splay tree that keeps its size while nodes with a payload come and go: a large part of the heap is old, and the old is
;; changed all the time.
(module
  (type $numbers (array (mut i32)))
  (type $payload (struct
    (field $left (ref null $payload)) (field $right (ref null $payload)) (field $numbers (ref null $numbers))))
  (type $node (struct
    (field $key i32) (field $payload (ref null $payload))
    (field $left (mut (ref null $node))) (field $right (mut (ref null $node)))))

  (global $root (mut (ref null $node)) (ref.null none))
  (global $state (mut i32) (i32.const 0))

  (func $random (result i32)
    (global.set $state
      (i32.add (i32.mul (global.get $state) (i32.const 1664525)) (i32.const 1013904223)))
    (i32.shr_u (global.get $state) (i32.const 2)))

  (func $payload (param $depth i32) (param $key i32) (result (ref $payload))
    (if (result (ref $payload)) (i32.eqz (local.get $depth))
      (then
        (struct.new $payload
          (ref.null none)
          (ref.null none)
          (array.new $numbers (local.get $key) (i32.const 10))))
      (else
        (struct.new $payload
          (call $payload (i32.sub (local.get $depth) (i32.const 1)) (local.get $key))
          (call $payload (i32.sub (local.get $depth) (i32.const 1)) (local.get $key))
          (ref.null none)))))

  ;; Brings the node with $key, or one of its neighbours, to the root of a tree that is not empty: Sleator's and Tarjan's top-down
  ;; simple splay.
  (func $splay (param $key i32)
    (local $dummy (ref $node)) (local $left (ref $node)) (local $right (ref $node))
    (local $current (ref $node)) (local $child (ref null $node))
    (local.set $dummy (struct.new $node (i32.const 0) (ref.null none) (ref.null none) (ref.null none)))
    (local.set $left (local.get $dummy))
    (local.set $right (local.get $dummy))
    (local.set $current (ref.as_non_null (global.get $root)))
    (block $found
      (loop $down
        (if (i32.lt_s (local.get $key) (struct.get $node $key (local.get $current)))
          (then
            (local.set $child (struct.get $node $left (local.get $current)))
            (br_if $found (ref.is_null (local.get $child)))
            (if (i32.lt_s (local.get $key) (struct.get $node $key (local.get $child)))
              (then
                (struct.set $node $left (local.get $current) (struct.get $node $right (local.get $child)))
                (struct.set $node $right (local.get $child) (local.get $current))
                (local.set $current (ref.as_non_null (local.get $child)))
                (br_if $found (ref.is_null (struct.get $node $left (local.get $current))))))
            (struct.set $node $left (local.get $right) (local.get $current))
            (local.set $right (local.get $current))
            (local.set $current (ref.as_non_null (struct.get $node $left (local.get $current))))
            (br $down)))
        (br_if $found (i32.eq (local.get $key) (struct.get $node $key (local.get $current))))
        (local.set $child (struct.get $node $right (local.get $current)))
        (br_if $found (ref.is_null (local.get $child)))
        (if (i32.gt_s (local.get $key) (struct.get $node $key (local.get $child)))
          (then
            (struct.set $node $right (local.get $current) (struct.get $node $left (local.get $child)))
            (struct.set $node $left (local.get $child) (local.get $current))
            (local.set $current (ref.as_non_null (local.get $child)))
            (br_if $found (ref.is_null (struct.get $node $right (local.get $current))))))
        (struct.set $node $right (local.get $left) (local.get $current))
        (local.set $left (local.get $current))
        (local.set $current (ref.as_non_null (struct.get $node $right (local.get $current))))
        (br $down)))
    (struct.set $node $right (local.get $left) (struct.get $node $left (local.get $current)))
    (struct.set $node $left (local.get $right) (struct.get $node $right (local.get $current)))
    (struct.set $node $left (local.get $current) (struct.get $node $right (local.get $dummy)))
    (struct.set $node $right (local.get $current) (struct.get $node $left (local.get $dummy)))
    (global.set $root (local.get $current)))

  ;; Whether $key was not there.
  (func $insert (param $key i32) (result i32)
    (local $node (ref $node)) (local $root (ref $node))
    (if (ref.is_null (global.get $root))
      (then
        (global.set $root
          (struct.new $node
            (local.get $key)
            (call $payload (i32.const 5) (local.get $key))
            (ref.null none)
            (ref.null none)))
        (return (i32.const 1))))
    (call $splay (local.get $key))
    (local.set $root (ref.as_non_null (global.get $root)))
    (if (i32.eq (struct.get $node $key (local.get $root)) (local.get $key))
      (then (return (i32.const 0))))
    (local.set $node
      (struct.new $node
        (local.get $key)
        (call $payload (i32.const 5) (local.get $key))
        (ref.null none)
        (ref.null none)))
    (if (i32.gt_s (local.get $key) (struct.get $node $key (local.get $root)))
      (then
        (struct.set $node $left (local.get $node) (local.get $root))
        (struct.set $node $right (local.get $node) (struct.get $node $right (local.get $root)))
        (struct.set $node $right (local.get $root) (ref.null none)))
      (else
        (struct.set $node $right (local.get $node) (local.get $root))
        (struct.set $node $left (local.get $node) (struct.get $node $left (local.get $root)))
        (struct.set $node $left (local.get $root) (ref.null none))))
    (global.set $root (local.get $node))
    (i32.const 1))

  ;; Removes $key, which is there.
  (func $remove (param $key i32)
    (local $right (ref null $node))
    (call $splay (local.get $key))
    (local.set $right (struct.get $node $right (global.get $root)))
    (global.set $root (struct.get $node $left (global.get $root)))
    (if (ref.is_null (global.get $root))
      (then (global.set $root (local.get $right)))
      (else
        (call $splay (local.get $key))
        (struct.set $node $right (global.get $root) (local.get $right)))))

  ;; The greatest key below $key, or $key itself, which is there.
  (func $before (param $key i32) (result i32)
    (local $node (ref null $node)) (local $next (ref null $node))
    (call $splay (local.get $key))
    (local.set $next (struct.get $node $left (global.get $root)))
    (if (ref.is_null (local.get $next)) (then (return (local.get $key))))
    (loop $down
      (local.set $node (local.get $next))
      (local.set $next (struct.get $node $right (local.get $node)))
      (br_if $down (i32.eqz (ref.is_null (local.get $next)))))
    (struct.get $node $key (local.get $node)))

  ;; A key that was not there.
  (func $insert_new (result i32)
    (local $key i32)
    (loop $again
      (local.set $key (call $random))
      (br_if $again (i32.eqz (call $insert (local.get $key)))))
    (local.get $key))

  ;; The numbers in the leaves of a payload.
  (func $payload_sum (param $payload (ref null $payload)) (result i64)
    (local $numbers (ref null $numbers))
    (local.set $numbers (struct.get $payload $numbers (local.get $payload)))
    (if (result i64) (ref.is_null (local.get $numbers))
      (then
        (i64.add
          (call $payload_sum (struct.get $payload $left (local.get $payload)))
          (call $payload_sum (struct.get $payload $right (local.get $payload)))))
      (else (i64.extend_i32_u (array.get $numbers (local.get $numbers) (i32.const 9))))))

  (func $tree_sum (param $node (ref null $node)) (result i64)
    (if (result i64) (ref.is_null (local.get $node))
      (then (i64.const 0))
      (else
        (i64.add
          (i64.add
            (i64.extend_i32_u (struct.get $node $key (local.get $node)))
            (call $payload_sum (struct.get $node $payload (local.get $node))))
          (i64.add
            (call $tree_sum (struct.get $node $left (local.get $node)))
            (call $tree_sum (struct.get $node $right (local.get $node))))))))

  ;; The sum of all keys and payloads of a tree of $size nodes, after three times as many changes.
  (func (export "run") (param $size i32) (result i64)
    (local $left i32) (local $sum i64)
    (global.set $state (i32.const 42))
    (global.set $root (ref.null none))
    (local.set $left (local.get $size))
    (loop $grow
      (drop (call $insert_new))
      (br_if $grow (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.set $left (i32.mul (local.get $size) (i32.const 3)))
    (loop $change
      (call $remove (call $before (call $insert_new)))
      (br_if $change (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.set $sum (call $tree_sum (global.get $root)))
    (global.set $root (ref.null none))
    (local.get $sum)))
