;; What standalone Dart programs import: strings, which are arrays of UTF-16 code units behind `externref`, and output.
(module
  (import "spectest" "print_char" (func $print_char (param i32)))

  (type $bytes (array (mut i8)))
  (type $units (array (mut i16)))
  (type $buffer (struct (field $units (mut (ref $units))) (field $length (mut i32))))

  (func $in (param $string externref) (result (ref $units))
    (ref.cast (ref $units) (any.convert_extern (local.get $string))))

  (func $out (param $units (ref $units)) (result (ref extern))
    (ref.as_non_null (extern.convert_any (local.get $units))))

  (func $slice (param $from (ref $units)) (param $start i32) (param $length i32) (result (ref $units))
    (local $units (ref $units))
    (local.set $units (array.new_default $units (local.get $length)))
    (array.copy $units $units
      (local.get $units) (i32.const 0) (local.get $from) (local.get $start) (local.get $length))
    (local.get $units))

  (func (export "print") (param $string externref)
    (local $units (ref $units)) (local $i i32)
    (local.set $units (call $in (local.get $string)))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $units))))
        (call $print_char (array.get_u $units (local.get $units) (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each)))
    (call $print_char (i32.const 10)))

  (func (export "stringFromAsciiBytes") (param $bytes (ref $bytes)) (param $start i32) (param $end i32)
    (result (ref extern))
    (local $units (ref $units)) (local $i i32)
    (local.set $units (array.new_default $units (i32.sub (local.get $end) (local.get $start))))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $units))))
        (array.set $units
          (local.get $units)
          (local.get $i)
          (array.get_u $bytes (local.get $bytes) (i32.add (local.get $start) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each)))
    (call $out (local.get $units)))

  (func (export "stringFromCharCodeArray") (param $from (ref $units)) (param $start i32) (param $end i32)
    (result (ref extern))
    (call $out
      (call $slice (local.get $from) (local.get $start) (i32.sub (local.get $end) (local.get $start)))))

  (func (export "stringLength") (param $string externref) (result i32)
    (array.len (call $in (local.get $string))))

  (func (export "stringCodeUnitAt") (param $string externref) (param $i i32) (result i32)
    (array.get_u $units (call $in (local.get $string)) (local.get $i)))

  (func (export "stringSubstring") (param $string externref) (param $start i32) (param $end i32) (result externref)
    (call $out
      (call $slice
        (call $in (local.get $string))
        (local.get $start)
        (i32.sub (local.get $end) (local.get $start)))))

  (func (export "stringConcat") (param $a externref) (param $b externref) (result externref)
    (local $left (ref $units)) (local $right (ref $units)) (local $units (ref $units))
    (local.set $left (call $in (local.get $a)))
    (local.set $right (call $in (local.get $b)))
    (local.set $units
      (array.new_default $units
        (i32.add (array.len (local.get $left)) (array.len (local.get $right)))))
    (array.copy $units $units
      (local.get $units) (i32.const 0) (local.get $left) (i32.const 0) (array.len (local.get $left)))
    (array.copy $units $units
      (local.get $units)
      (array.len (local.get $left))
      (local.get $right)
      (i32.const 0)
      (array.len (local.get $right)))
    (call $out (local.get $units)))

  (func (export "stringRepeat") (param $string externref) (param $times i32) (result externref)
    (local $one (ref $units)) (local $units (ref $units)) (local $at i32)
    (local.set $one (call $in (local.get $string)))
    (local.set $units
      (array.new_default $units (i32.mul (array.len (local.get $one)) (local.get $times))))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $at) (array.len (local.get $units))))
        (array.copy $units $units
          (local.get $units) (local.get $at) (local.get $one) (i32.const 0) (array.len (local.get $one)))
        (local.set $at (i32.add (local.get $at) (array.len (local.get $one))))
        (br $each)))
    (call $out (local.get $units)))

  ;; Of the letters of ASCII alone.
  (func (export "stringToUpperCase") (param $string externref) (result externref)
    (local $units (ref $units)) (local $i i32) (local $unit i32)
    (local.set $units (call $in (local.get $string)))
    (local.set $units
      (call $slice (local.get $units) (i32.const 0) (array.len (local.get $units))))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $units))))
        (local.set $unit (array.get_u $units (local.get $units) (local.get $i)))
        (if (i32.ge_u (local.get $unit) (i32.const 0x80)) (then (unreachable)))
        (if (i32.lt_u (i32.sub (local.get $unit) (i32.const 97)) (i32.const 26))
          (then
            (array.set $units
              (local.get $units) (local.get $i) (i32.sub (local.get $unit) (i32.const 32)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each)))
    (call $out (local.get $units)))

  ;; -1, 0 or 1.
  (func $compare (export "stringCompare") (param $a externref) (param $b externref) (result i32)
    (local $left (ref $units)) (local $right (ref $units)) (local $i i32) (local $x i32) (local $y i32)
    (local.set $left (call $in (local.get $a)))
    (local.set $right (call $in (local.get $b)))
    (loop $each
      (if (i32.ge_u (local.get $i) (array.len (local.get $left)))
        (then
          (return
            (i32.sub
              (i32.const 0)
              (i32.gt_u (array.len (local.get $right)) (local.get $i))))))
      (if (i32.ge_u (local.get $i) (array.len (local.get $right)))
        (then (return (i32.const 1))))
      (local.set $x (array.get_u $units (local.get $left) (local.get $i)))
      (local.set $y (array.get_u $units (local.get $right) (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $each (i32.eq (local.get $x) (local.get $y))))
    (select (i32.const -1) (i32.const 1) (i32.lt_u (local.get $x) (local.get $y))))

  (func (export "stringEquals") (param $a externref) (param $b externref) (result i32)
    (i32.eqz (call $compare (local.get $a) (local.get $b))))

  ;; Whether $part stands in $in at $at.
  (func $stands (param $in (ref $units)) (param $part (ref $units)) (param $at i32) (result i32)
    (local $i i32)
    (loop $each
      (if (i32.ge_u (local.get $i) (array.len (local.get $part))) (then (return (i32.const 1))))
      (if
        (i32.ne
          (array.get_u $units (local.get $in) (i32.add (local.get $at) (local.get $i)))
          (array.get_u $units (local.get $part) (local.get $i)))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $each))
    (unreachable))

  (func $last (param $in (ref $units)) (param $part (ref $units)) (result i32)
    (i32.sub (array.len (local.get $in)) (array.len (local.get $part))))

  (func (export "stringIndexOfString") (param $a externref) (param $b externref) (param $at i32) (result i32)
    (local $in (ref $units)) (local $part (ref $units))
    (local.set $in (call $in (local.get $a)))
    (local.set $part (call $in (local.get $b)))
    (loop $each
      (if (i32.gt_s (local.get $at) (call $last (local.get $in) (local.get $part)))
        (then (return (i32.const -1))))
      (if (call $stands (local.get $in) (local.get $part) (local.get $at))
        (then (return (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $each))
    (unreachable))

  (func (export "stringLastIndexOfString") (param $a externref) (param $b externref) (param $at i32) (result i32)
    (local $in (ref $units)) (local $part (ref $units))
    (local.set $in (call $in (local.get $a)))
    (local.set $part (call $in (local.get $b)))
    (if (i32.gt_s (local.get $at) (call $last (local.get $in) (local.get $part)))
      (then (local.set $at (call $last (local.get $in) (local.get $part)))))
    (loop $each
      (if (i32.lt_s (local.get $at) (i32.const 0)) (then (return (i32.const -1))))
      (if (call $stands (local.get $in) (local.get $part) (local.get $at))
        (then (return (local.get $at))))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br $each))
    (unreachable))

  (func (export "stringBufferCreate") (result (ref extern))
    (ref.as_non_null
      (extern.convert_any
        (struct.new $buffer (array.new_default $units (i32.const 16)) (i32.const 0)))))

  (func $buffer (param $buffer externref) (result (ref $buffer))
    (ref.cast (ref $buffer) (any.convert_extern (local.get $buffer))))

  (func (export "stringBufferWriteString") (param $to externref) (param $string externref)
    (local $buffer (ref $buffer)) (local $units (ref $units)) (local $more (ref $units)) (local $length i32)
    (local.set $buffer (call $buffer (local.get $to)))
    (local.set $units (call $in (local.get $string)))
    (local.set $length
      (i32.add (struct.get $buffer $length (local.get $buffer)) (array.len (local.get $units))))
    (if
      (i32.gt_u
        (local.get $length)
        (array.len (struct.get $buffer $units (local.get $buffer))))
      (then
        (local.set $more
          (array.new_default $units (i32.shl (local.get $length) (i32.const 1))))
        (array.copy $units $units
          (local.get $more)
          (i32.const 0)
          (struct.get $buffer $units (local.get $buffer))
          (i32.const 0)
          (struct.get $buffer $length (local.get $buffer)))
        (struct.set $buffer $units (local.get $buffer) (local.get $more))))
    (array.copy $units $units
      (struct.get $buffer $units (local.get $buffer))
      (struct.get $buffer $length (local.get $buffer))
      (local.get $units)
      (i32.const 0)
      (array.len (local.get $units)))
    (struct.set $buffer $length (local.get $buffer) (local.get $length)))

  (func (export "stringBufferToString") (param $from externref) (result (ref extern))
    (local $buffer (ref $buffer))
    (local.set $buffer (call $buffer (local.get $from)))
    (call $out
      (call $slice
        (struct.get $buffer $units (local.get $buffer))
        (i32.const 0)
        (struct.get $buffer $length (local.get $buffer)))))

  (func (export "i64ToString") (param $value i64) (param $radix i32) (result (ref extern))
    (local $units (ref $units)) (local $at i32) (local $digit i32) (local $rest i64)
    ;; The longest has 64 digits and a sign.
    (local.set $units (array.new_default $units (i32.const 65)))
    (local.set $at (i32.const 65))
    (local.set $rest (local.get $value))
    (loop $digits
      ;; Negative values stay negative, as there is one more of them.
      (local.set $digit
        (i32.wrap_i64
          (i64.rem_s (local.get $rest) (i64.extend_i32_u (local.get $radix)))))
      (if (i32.lt_s (local.get $digit) (i32.const 0))
        (then (local.set $digit (i32.sub (i32.const 0) (local.get $digit)))))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (array.set $units
        (local.get $units)
        (local.get $at)
        (i32.add
          (local.get $digit)
          (select
            (i32.const 48)
            (i32.const 87)
            (i32.lt_u (local.get $digit) (i32.const 10)))))
      (local.set $rest
        (i64.div_s (local.get $rest) (i64.extend_i32_u (local.get $radix))))
      (br_if $digits (i64.ne (local.get $rest) (i64.const 0))))
    (if (i64.lt_s (local.get $value) (i64.const 0))
      (then
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (array.set $units (local.get $units) (local.get $at) (i32.const 45))))
    (call $out
      (call $slice
        (local.get $units)
        (local.get $at)
        (i32.sub (i32.const 65) (local.get $at)))))

  (func (export "randomInt") (result i64)
    (i64.const 4))

  ;; There are none.
  (func (export "stackTraceGetCurrent") (result (ref extern))
    (call $out (array.new_default $units (i32.const 0))))
  (func (export "stackTraceToString") (param $trace externref) (result (ref extern))
    (ref.as_non_null (local.get $trace)))

  ;; The programs here print no numbers with a point and no quoted strings.
  (func (export "f64ToString") (param f64) (result (ref extern))
    (unreachable))
  (func (export "jsonEncodeString") (param externref) (result (ref extern))
    (unreachable)))
