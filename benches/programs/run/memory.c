/* Copies, moves and fills memory in pieces of all sizes: a buffer with a gap, rows of a screen that scrolls, and a queue. */
#include "program.h"

enum { BUFFER = 1 << 16, WIDTH = 640, HEIGHT = 200, SPRITE = 48, QUEUE = 1 << 12 };

static char buffer[BUFFER];
static int gap_start, gap_end;

/* Moves the gap to `at`, and with it what stands between. */
static void move_gap(int at) {
  if (at < gap_start) {
    memmove(buffer + gap_end - (gap_start - at), buffer + at, (size_t)(gap_start - at));
    gap_end -= gap_start - at;
  } else {
    memmove(buffer + gap_start, buffer + gap_end, (size_t)(at - gap_start));
    gap_end += at - gap_start;
  }
  gap_start = at;
}

static uint64_t edit(void) {
  static const char words[] = "A buffer with a gap makes it cheap to type where the cursor is.";
  gap_start = 0, gap_end = BUFFER;
  for (int i = 0; i < 2000; i++) {
    int size = BUFFER - (gap_end - gap_start);
    move_gap((int)random_below((uint32_t)size + 1));
    if (i % 4 == 3) {
      int erased = (int)random_below(100);
      gap_end = gap_end + erased < BUFFER ? gap_end + erased : BUFFER;
    } else {
      uint32_t length = random_below(sizeof words);
      memcpy(buffer + gap_start, words, length);
      gap_start += (int)length;
    }
  }
  move_gap(BUFFER - (gap_end - gap_start));
  return mix_bytes(0, buffer, (size_t)gap_start);
}

static uint32_t screen[HEIGHT][WIDTH], sprite[SPRITE][SPRITE];

static uint64_t scroll(void) {
  for (int frame = 0; frame < 8; frame++) {
    memmove(screen[0], screen[8], sizeof screen - 8 * sizeof screen[0]);
    memset(screen[HEIGHT - 8], frame * 31, 8 * sizeof screen[0]);
    for (int i = 0; i < 40; i++) {
      uint32_t x = random_below(WIDTH - SPRITE), y = random_below(HEIGHT - SPRITE), width = 1 + random_below(SPRITE);
      for (int row = 0; row < SPRITE; row++) memcpy(&screen[y + (uint32_t)row][x], sprite[row], width * sizeof sprite[0][0]);
    }
  }
  uint64_t hash = 0;
  for (int y = 0; y < HEIGHT; y += 5) hash = mix(hash, screen[y][y * 3]);
  return hash;
}

/* Messages with a length before them. */
static uint8_t queue[QUEUE];
static uint32_t queue_head, queue_tail;

static void transfer(uint32_t position, uint8_t *data, uint32_t size, bool in) {
  uint32_t at = position % QUEUE, first = size < QUEUE - at ? size : QUEUE - at;
  memcpy(in ? queue + at : data, in ? data : queue + at, first);
  memcpy(in ? queue : data + first, in ? data + first : queue, size - first);
}

static uint64_t pass_messages(void) {
  uint8_t message[256];
  uint64_t hash = 0;
  queue_head = queue_tail = 0;
  for (int i = 0; i < 20000; i++) {
    uint8_t size = (uint8_t)random_below(200);
    if (queue_tail - queue_head + size + 1 <= QUEUE) {
      memset(message, i & 255, size);
      transfer(queue_tail, &size, 1, true);
      transfer(queue_tail + 1, message, size, true);
      queue_tail += size + 1u;
    }
    while (queue_tail != queue_head && (queue_tail - queue_head > QUEUE / 2 || i % 3 == 0)) {
      transfer(queue_head, &size, 1, false);
      transfer(queue_head + 1, message, size, false);
      queue_head += size + 1u;
      hash = mix(hash, size ? message[size - 1] : 0);
    }
  }
  return hash;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(25);
  memset(screen, 0, sizeof screen);
  for (int y = 0; y < SPRITE; y++)
    for (int x = 0; x < SPRITE; x++) sprite[y][x] = random_u32();
  for (int round = 0; round < n; round++) {
    hash = mix(hash, edit());
    hash = mix(hash, scroll());
    hash = mix(hash, pass_messages());
  }
  return checksum(hash);
}
