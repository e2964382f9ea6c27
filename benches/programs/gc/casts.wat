;; Casts over a hierarchy of types, in loops over 4096 objects of mixed types.
;;
;;     shape ── round ── circle (final)
;;           │        └─ ellipse ── egg (final)
;;           └─ polygon ── square (final)
;;                      └─ star
(module
  (type $shape (sub (struct (field $size i32))))
  (type $round (sub $shape (struct (field $size i32))))
  (type $circle (sub final $round (struct (field $size i32) (field $radius i32))))
  (type $ellipse (sub $round (struct (field $size i32) (field $width i32) (field $height i32))))
  (type $egg (sub final $ellipse (struct (field $size i32) (field $width i32) (field $height i32) (field $age i32))))
  (type $polygon (sub $shape (struct (field $size i32) (field $corners i32))))
  (type $square (sub final $polygon (struct (field $size i32) (field $corners i32) (field $side i32))))
  (type $star (sub $polygon (struct (field $size i32) (field $corners i32) (field $rays i64))))
  (type $objects (array (mut (ref null any))))

  ;; The object number $i.
  (func $object (param $i i32) (result (ref any))
    (local $kind i32)
    (local.set $kind
      (i32.rem_u
        (i32.shr_u (i32.mul (local.get $i) (i32.const 0x9e3779b1)) (i32.const 16))
        (i32.const 6)))
    (block $number
      (block $star
        (block $square
          (block $egg
            (block $ellipse
              (block $circle
                (br_table $circle $ellipse $egg $square $star $number (local.get $kind)))
              (return (struct.new $circle (local.get $i) (i32.const 1))))
            (return (struct.new $ellipse (local.get $i) (i32.const 2) (i32.const 3))))
          (return (struct.new $egg (local.get $i) (i32.const 4) (i32.const 5) (i32.const 6))))
        (return (struct.new $square (local.get $i) (i32.const 4) (i32.const 7))))
      (return (struct.new $star (local.get $i) (i32.const 8) (i64.const 9))))
    (ref.i31 (local.get $i)))

  (func $objects (result (ref $objects))
    (local $objects (ref $objects)) (local $i i32)
    (local.set $objects (array.new_default $objects (i32.const 4096)))
    (loop $fill
      (array.set $objects (local.get $objects) (local.get $i) (call $object (local.get $i)))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
    (local.get $objects))

  ;; What a `match` over the types compiles to: a chain of branches.
  (func $area (param $object (ref null any)) (result i32)
    (local $ellipse (ref $ellipse))
    (block $is_number (result (ref i31))
      (block $is_polygon (result (ref $polygon))
        (block $is_square (result (ref $square))
          (block $is_ellipse (result (ref $ellipse))
            (block $is_circle (result (ref $circle))
              (local.get $object)
              (br_on_cast $is_circle (ref null any) (ref $circle))
              (br_on_cast $is_ellipse (ref null any) (ref $ellipse))
              (br_on_cast $is_square (ref null any) (ref $square))
              (br_on_cast $is_polygon (ref null any) (ref $polygon))
              (br_on_cast $is_number (ref null any) (ref i31))
              (drop)
              (return (i32.const -1)))
            (return (struct.get $circle $radius)))
          (local.set $ellipse)
          (return
            (i32.mul
              (struct.get $ellipse $width (local.get $ellipse))
              (struct.get $ellipse $height (local.get $ellipse)))))
        (return (struct.get $square $side)))
      (return (struct.get $polygon $corners)))
    (i31.get_u))

  (func (export "br_on_cast") (param $rounds i32) (result i64)
    (local $objects (ref $objects)) (local $i i32) (local $sum i64)
    (local.set $objects (call $objects))
    (loop $again
      (local.set $i (i32.const 0))
      (loop $each
        (local.set $sum
          (i64.add
            (local.get $sum)
            (i64.extend_i32_s
              (call $area (array.get $objects (local.get $objects) (local.get $i))))))
        (br_if $each
          (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum))

  ;; Casts that succeed, as erased generics leave them, to a type that is not the object's own, and to its own, which is final.
  (func (export "ref_cast") (param $rounds i32) (result i64)
    (local $objects (ref $objects)) (local $i i32) (local $sum i64) (local $object (ref null any))
    (local.set $objects (array.new_default $objects (i32.const 4096)))
    (loop $fill
      (array.set $objects
        (local.get $objects)
        (local.get $i)
        (struct.new $egg (local.get $i) (i32.const 4) (i32.const 5) (local.get $i)))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
    (loop $again
      (local.set $i (i32.const 0))
      (loop $each
        (local.set $object (array.get $objects (local.get $objects) (local.get $i)))
        (local.set $sum
          (i64.add
            (local.get $sum)
            (i64.extend_i32_u
              (i32.add
                (i32.add
                  (struct.get $shape $size (ref.cast (ref $shape) (local.get $object)))
                  (struct.get $ellipse $width (ref.cast (ref $ellipse) (local.get $object))))
                (struct.get $egg $age (ref.cast (ref $egg) (local.get $object)))))))
        (br_if $each
          (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum)))
