;; CRC-32 of a mebibyte, by a table, $n times over.
(module
  (memory 17)
  (func $table
    (local $i i32) (local $c i32) (local $k i32)
    (loop $entries
      (local.set $c (local.get $i))
      (local.set $k (i32.const 8))
      (loop $bits
        (local.set $c (i32.xor (i32.shr_u (local.get $c) (i32.const 1))
          (i32.and (i32.const 0xedb88320) (i32.sub (i32.const 0) (i32.and (local.get $c) (i32.const 1))))))
        (br_if $bits (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
      (i32.store offset=0x100000 (i32.shl (local.get $i) (i32.const 2)) (local.get $c))
      (br_if $entries (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 256)))))
  (func (export "run") (param $n i32) (result i64)
    (local $at i32) (local $crc i32)
    (call $table)
    (loop $fill
      (i32.store8 (local.get $at) (i32.mul (local.get $at) (i32.const 31)))
      (br_if $fill (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 0x100000))))
    (loop $again
      (local.set $crc (i32.xor (local.get $crc) (i32.const -1)))
      (local.set $at (i32.const 0))
      (loop $bytes
        (local.set $crc (i32.xor (i32.shr_u (local.get $crc) (i32.const 8))
          (i32.load offset=0x100000
            (i32.shl (i32.and (i32.xor (local.get $crc) (i32.load8_u (local.get $at))) (i32.const 255))
              (i32.const 2)))))
        (br_if $bytes (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 0x100000))))
      (local.set $crc (i32.xor (local.get $crc) (i32.const -1)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.extend_i32_u (local.get $crc))))
