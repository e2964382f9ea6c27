;; The Mandelbrot set on $n by $n points, with at most 200 iterations each. Returns their sum.
(module
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $j i32) (local $k i32) (local $count i64)
    (local $cr f64) (local $ci f64) (local $zr f64) (local $zi f64) (local $rr f64) (local $ii f64)
    (loop $rows
      (local.set $j (i32.const 0))
      (local.set $ci (f64.sub (f64.div (f64.mul (f64.const 2) (f64.convert_i32_s (local.get $i)))
        (f64.convert_i32_s (local.get $n))) (f64.const 1)))
      (loop $columns
        (local.set $cr (f64.sub (f64.div (f64.mul (f64.const 2) (f64.convert_i32_s (local.get $j)))
          (f64.convert_i32_s (local.get $n))) (f64.const 1.5)))
        (local.set $zr (f64.const 0))
        (local.set $zi (f64.const 0))
        (local.set $k (i32.const 0))
        (block $out
          (loop $iterate
            (local.set $rr (f64.mul (local.get $zr) (local.get $zr)))
            (local.set $ii (f64.mul (local.get $zi) (local.get $zi)))
            (br_if $out (f64.gt (f64.add (local.get $rr) (local.get $ii)) (f64.const 4)))
            (local.set $zi (f64.add (f64.mul (f64.mul (local.get $zr) (local.get $zi)) (f64.const 2)) (local.get $ci)))
            (local.set $zr (f64.add (f64.sub (local.get $rr) (local.get $ii)) (local.get $cr)))
            (br_if $iterate (i32.lt_s (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 200)))))
        (local.set $count (i64.add (local.get $count) (i64.extend_i32_s (local.get $k))))
        (br_if $columns (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $rows (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $count)))
