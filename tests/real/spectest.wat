;; `print_char` for programs that print text by characters: takes UTF-16 code units, prints UTF-8 by lines.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  ;; At 0 the vector for `fd_write`, at 8 its result, from 16 the line.
  (memory (export "memory") 1)
  (global $end (mut i32) (i32.const 16))
  ;; The first half of a surrogate pair, or 0.
  (global $high (mut i32) (i32.const 0))

  (func $byte (param $byte i32)
    (i32.store8 (global.get $end) (local.get $byte))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  ;; The byte of a sequence that holds the six bits from bit $shift on.
  (func $continuation (param $char i32) (param $shift i32)
    (call $byte
      (i32.or
        (i32.const 0x80)
        (i32.and (i32.shr_u (local.get $char) (local.get $shift)) (i32.const 0x3f)))))

  (func $char (param $char i32)
    (if (i32.lt_u (local.get $char) (i32.const 0x80))
      (then (call $byte (local.get $char)) (return)))
    (if (i32.lt_u (local.get $char) (i32.const 0x800))
      (then (call $byte (i32.or (i32.const 0xc0) (i32.shr_u (local.get $char) (i32.const 6)))))
      (else
        (if (i32.lt_u (local.get $char) (i32.const 0x10000))
          (then (call $byte (i32.or (i32.const 0xe0) (i32.shr_u (local.get $char) (i32.const 12)))))
          (else
            (call $byte (i32.or (i32.const 0xf0) (i32.shr_u (local.get $char) (i32.const 18))))
            (call $continuation (local.get $char) (i32.const 12))))
        (call $continuation (local.get $char) (i32.const 6))))
    (call $continuation (local.get $char) (i32.const 0)))

  (func $flush
    (local $from i32)
    (local.set $from (i32.const 16))
    (loop $more
      (i32.store (i32.const 0) (local.get $from))
      (i32.store (i32.const 4) (i32.sub (global.get $end) (local.get $from)))
      (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
        (then (unreachable)))
      (local.set $from (i32.add (local.get $from) (i32.load (i32.const 8))))
      (br_if $more (i32.lt_u (local.get $from) (global.get $end))))
    (global.set $end (i32.const 16)))

  (func (export "print_char") (param $unit i32)
    (if (i32.eq (i32.and (local.get $unit) (i32.const 0xfc00)) (i32.const 0xd800))
      (then (global.set $high (local.get $unit)) (return)))
    (if (i32.eq (i32.and (local.get $unit) (i32.const 0xfc00)) (i32.const 0xdc00))
      (then
        (local.set $unit
          (i32.add
            (i32.const 0x10000)
            (i32.or
              (i32.shl (i32.and (global.get $high) (i32.const 0x3ff)) (i32.const 10))
              (i32.and (local.get $unit) (i32.const 0x3ff)))))))
    (call $char (local.get $unit))
    (if
      (i32.or
        (i32.eq (local.get $unit) (i32.const 10))
        (i32.gt_u (global.get $end) (i32.const 65000)))
      (then (call $flush)))))
