//! Multiplies polynomials by number-theoretic transforms over two fields, which are types made at compile time, and puts the
//! coefficients together by the Chinese remainder theorem.
const std = @import("std");

const bits = 13;
const size = 1 << bits;

/// The numbers modulo a prime of at most 31 bits, in which `root` generates the group of units.
fn Field(comptime prime: u32, comptime root: u32) type {
    return struct {
        const Element = u32;
        const modulus: u64 = prime;

        fn add(a: Element, b: Element) Element {
            const sum = a + b;
            return if (sum >= prime) sum - prime else sum;
        }

        fn subtract(a: Element, b: Element) Element {
            return if (a >= b) a - b else a + prime - b;
        }

        fn multiply(a: Element, b: Element) Element {
            return @intCast(@as(u64, a) * b % prime);
        }

        fn power(base: Element, exponent: u32) Element {
            var result: Element = 1;
            var square = base;
            var remaining = exponent;
            while (remaining != 0) : (remaining >>= 1) {
                if (remaining & 1 != 0) result = multiply(result, square);
                square = multiply(square, square);
            }
            return result;
        }

        fn inverse(a: Element) Element {
            return power(a, prime - 2);
        }

        const roots = blk: {
            @setEvalBranchQuota(10_000);
            var table: [bits + 1]Element = undefined;
            for (&table, 0..) |*entry, bit| entry.* = power(root, (prime - 1) >> bit);
            break :blk table;
        };

        fn transform(a: *[size]Element) void {
            for (a, 0..) |*element, i| {
                const j = @bitReverse(@as(u32, @intCast(i))) >> (32 - bits);
                if (i < j) std.mem.swap(Element, element, &a[j]);
            }
            for (1..bits + 1) |level| {
                const half = @as(usize, 1) << @intCast(level - 1);
                var start: usize = 0;
                while (start < size) : (start += 2 * half) {
                    var w: Element = 1;
                    for (a[start..][0..half], a[start + half ..][0..half]) |*low, *high| {
                        const product = multiply(high.*, w);
                        high.* = subtract(low.*, product);
                        low.* = add(low.*, product);
                        w = multiply(w, roots[level]);
                    }
                }
            }
        }

        var left: [size]Element = undefined;
        var right: [size]Element = undefined;

        /// The product of `a` and `b` is in `left` then.
        fn convolve(a: []const u32, b: []const u32) void {
            inline for (.{ &left, &right }, .{ a, b }) |to, from| {
                for (to, 0..) |*element, i| element.* = if (i < from.len) from[i] % prime else 0;
                transform(to);
            }
            for (&left, &right) |*x, y| x.* = multiply(x.*, y);
            transform(&left);
            // The transform back is the transform, in reverse, over the size.
            std.mem.reverse(Element, left[1..]);
            const scale = inverse(size);
            for (&left) |*x| x.* = multiply(x.*, scale);
        }
    };
}

const First = Field(998_244_353, 3);
const Second = Field(754_974_721, 11);

/// The number below the product of the moduli that is `a` in one field and `b` in the other.
fn combine(a: u32, b: u32) u64 {
    const inverse = comptime Second.inverse(@intCast(First.modulus % Second.modulus));
    const difference = Second.subtract(b, a % @as(u32, @intCast(Second.modulus)));
    return a + First.modulus * Second.multiply(difference, inverse);
}

var first_factor: [size / 2]u32 = undefined;
var second_factor: [size / 2]u32 = undefined;

export fn run(n: i32) i64 {
    var prng = std.Random.Xoshiro256.init(30);
    const random = prng.random();
    var hash: u64 = 0;
    for (0..@intCast(@max(n, 0))) |_| {
        for (&first_factor, &second_factor) |*a, *b| {
            a.* = random.uintLessThan(u32, 1_000_000);
            b.* = random.uintLessThan(u32, 1_000);
        }
        First.convolve(&first_factor, &second_factor);
        Second.convolve(&first_factor, &second_factor);
        for (First.left, Second.left) |a, b| {
            hash = (hash ^ combine(a, b)) *% 0xff51afd7ed558ccd;
            hash ^= hash >> 32;
        }
        // Two coefficients by the definition.
        var sum: u64 = 0;
        for (0..101) |i| sum += @as(u64, first_factor[i]) * second_factor[100 - i];
        if (combine(First.left[100], Second.left[100]) != sum) return -1;
        if (combine(First.left[0], Second.left[0]) != @as(u64, first_factor[0]) * second_factor[0]) return -1;
    }
    return @intCast(hash >> 1);
}
