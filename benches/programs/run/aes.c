/* AES-128 with tables, in counter mode. */
#include "program.h"

enum { ROUNDS = 10, SIZE = 1 << 16 };

static uint8_t sbox[256];
static uint32_t tables[4][256];
static uint32_t round_keys[ROUNDS + 1][4];
static uint8_t data[SIZE];

static uint8_t doubled(uint8_t x) { return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0)); }

static uint32_t rotate_left(uint32_t x, int by) { return by ? x << by | x >> (32 - by) : x; }

/* Inverses in the field are found by going through the powers of 3, and backwards through those of its inverse. */
static void make_tables(void) {
  uint8_t power = 1, inverse = 1;
  do {
    power = power ^ doubled(power);
    inverse ^= (uint8_t)(inverse << 1);
    inverse ^= (uint8_t)(inverse << 2);
    inverse ^= (uint8_t)(inverse << 4);
    if (inverse & 0x80) inverse ^= 0x09;
    unsigned x = inverse * 0x101u;
    sbox[power] = (uint8_t)(0x63 ^ x ^ x >> 7 ^ x >> 6 ^ x >> 5 ^ x >> 4);
  } while (power != 1);
  sbox[0] = 0x63;
  for (int i = 0; i < 256; i++) {
    uint8_t s = sbox[i], twice = doubled(s);
    uint32_t column = twice | (uint32_t)s << 8 | (uint32_t)s << 16 | (uint32_t)(twice ^ s) << 24;
    for (int t = 0; t < 4; t++) tables[t][i] = rotate_left(column, 8 * t);
  }
}

static uint32_t substitute(uint32_t x) {
  return sbox[x & 255] | (uint32_t)sbox[x >> 8 & 255] << 8 | (uint32_t)sbox[x >> 16 & 255] << 16 | (uint32_t)sbox[x >> 24] << 24;
}

static void expand_key(const uint8_t key[16]) {
  uint8_t constant = 1;
  memcpy(round_keys[0], key, 16);
  for (int r = 1; r <= ROUNDS; r++, constant = doubled(constant)) {
    round_keys[r][0] = round_keys[r - 1][0] ^ substitute(rotate_left(round_keys[r - 1][3], 24)) ^ constant;
    for (int i = 1; i < 4; i++) round_keys[r][i] = round_keys[r - 1][i] ^ round_keys[r][i - 1];
  }
}

static void encrypt(const uint32_t in[4], uint32_t out[4]) {
  uint32_t s[4], t[4];
  for (int i = 0; i < 4; i++) s[i] = in[i] ^ round_keys[0][i];
  for (int r = 1; r < ROUNDS; r++) {
    for (int i = 0; i < 4; i++)
      t[i] = tables[0][s[i] & 255] ^ tables[1][s[(i + 1) & 3] >> 8 & 255] ^ tables[2][s[(i + 2) & 3] >> 16 & 255] ^
             tables[3][s[(i + 3) & 3] >> 24] ^ round_keys[r][i];
    memcpy(s, t, sizeof s);
  }
  for (int i = 0; i < 4; i++) {
    uint32_t word = (s[i] & 0xff) | (s[(i + 1) & 3] & 0xff00) | (s[(i + 2) & 3] & 0xff0000) | (s[(i + 3) & 3] & 0xff000000);
    out[i] = substitute(word) ^ round_keys[ROUNDS][i];
  }
}

static void apply_counter_mode(uint32_t nonce) {
  for (uint32_t at = 0; at < SIZE; at += 16) {
    uint32_t counter[4] = {nonce, 0, 0, at / 16}, stream[4], block[4];
    encrypt(counter, stream);
    memcpy(block, data + at, 16);
    for (int i = 0; i < 4; i++) block[i] ^= stream[i];
    memcpy(data + at, block, 16);
  }
}

int64_t run(int32_t n) {
  uint8_t key[16], plain[16], cipher[16];
  make_tables();
  /* The example of FIPS 197. */
  for (int i = 0; i < 16; i++) key[i] = (uint8_t)i, plain[i] = (uint8_t)(i * 0x11);
  expand_key(key);
  uint32_t in[4], out[4];
  memcpy(in, plain, 16);
  encrypt(in, out);
  memcpy(cipher, out, 16);
  if (cipher[0] != 0x69 || cipher[1] != 0xc4 || cipher[15] != 0x5a) return -1;
  random_seed(20);
  for (int i = 0; i < SIZE; i++) data[i] = (uint8_t)random_u32();
  for (int round = 0; round < n; round++) apply_counter_mode((uint32_t)round);
  return checksum(mix_bytes(0, data, SIZE));
}
