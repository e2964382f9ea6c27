//! Counts words with the hash maps, lists and sorting of Zig's library, in memory from an arena.
const std = @import("std");

const syllables = [_][]const u8{ "ba", "con", "de", "fer", "gu", "hal", "i", "jor", "ki", "lem" };

var heap: [8 << 20]u8 = undefined;

const Count = struct {
    word: []const u8,
    count: u32,

    fn before(_: void, a: Count, b: Count) bool {
        if (a.count != b.count) return a.count > b.count;
        return std.mem.lessThan(u8, a.word, b.word);
    }
};

fn makeText(allocator: std.mem.Allocator, random: std.Random) ![]const u8 {
    var text: std.ArrayListUnmanaged(u8) = .empty;
    for (0..50_000) |_| {
        for (0..1 + random.uintLessThan(u32, 4)) |_| {
            // Small numbers are more frequent.
            const index = @min(random.uintLessThan(u32, 10), random.uintLessThan(u32, 10));
            try text.appendSlice(allocator, syllables[index]);
        }
        try text.append(allocator, " ,.\n"[random.uintLessThan(u32, 4)]);
    }
    return text.items;
}

fn countWords(allocator: std.mem.Allocator, text: []const u8) ![]Count {
    var counts: std.StringHashMapUnmanaged(u32) = .empty;
    var words = std.mem.tokenizeAny(u8, text, " ,.\n");
    while (words.next()) |word| {
        const entry = try counts.getOrPut(allocator, word);
        if (!entry.found_existing) entry.value_ptr.* = 0;
        entry.value_ptr.* += 1;
    }
    var list: std.ArrayListUnmanaged(Count) = .empty;
    try list.ensureTotalCapacity(allocator, counts.count());
    var entries = counts.iterator();
    while (entries.next()) |entry| {
        list.appendAssumeCapacity(.{ .word = entry.key_ptr.*, .count = entry.value_ptr.* });
    }
    std.mem.sort(Count, list.items, {}, Count.before);
    return list.items;
}

fn work(rounds: u32) !u64 {
    var prng = std.Random.Xoshiro256.init(29);
    var hash = std.hash.Fnv1a_64.init();
    for (0..rounds) |_| {
        var arena = std.heap.FixedBufferAllocator.init(&heap);
        const allocator = arena.allocator();
        const text = try makeText(allocator, prng.random());
        for (try countWords(allocator, text), 0..) |count, place| {
            var line: [64]u8 = undefined;
            hash.update(try std.fmt.bufPrint(&line, "{d}. {s}: {d}\n", .{ place, count.word, count.count }));
        }
    }
    return hash.final();
}

export fn run(n: i32) i64 {
    const hash = work(@intCast(@max(n, 0))) catch return -1;
    return @intCast(hash >> 1);
}
