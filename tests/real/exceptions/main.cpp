// Throws and catches in all the ways that C++ has, and prints what happens.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <variant>
#include <vector>

#define NOINLINE __attribute__((noinline))

static int alive = 0;

// Counts what is constructed and not yet destroyed.
struct Guard {
    const char *name;
    explicit Guard(const char *name) : name(name) { alive++; }
    Guard(const Guard &other) : name(other.name) { alive++; }
    ~Guard() { alive--; }
};

struct Failure : std::runtime_error {
    int code;
    Failure(const std::string &what, int code) : std::runtime_error(what), code(code) {}
};
struct Left {
    int a = 1;
    virtual ~Left() = default;
};
struct Right {
    int b = 2;
    virtual ~Right() = default;
};
struct Both : Left, virtual Right {
    int c = 3;
};
struct Secret : private Failure {
    Secret() : Failure("secret", 7) {}
};

// Through frames that have, and have not, something to clean up.
NOINLINE static int descend(int depth, int code) {
    if (depth == 0) throw Failure("at the bottom", code);
    if (depth % 2) return descend(depth - 1, code) + 1;
    Guard guard("frame");
    std::string text(depth, 'x');
    return descend(depth - 1, code) + static_cast<int>(text.size());
}

// A handler in each frame, which throws the same exception on.
NOINLINE static int rethrow(int depth, int &handlers) {
    Guard guard("handler");
    if (depth == 0) throw Failure("rethrown", 5);
    try {
        return rethrow(depth - 1, handlers) + 1;
    } catch (const Failure &failure) {
        handlers += failure.code;
        throw;
    }
}

// A handler in each frame, which throws another exception.
NOINLINE static void replace(int depth) {
    try {
        if (depth == 0) throw std::out_of_range("0");
        replace(depth - 1);
    } catch (const std::exception &e) {
        throw std::logic_error(std::to_string(depth) + "<" + std::string(e.what()).substr(0, 12));
    }
}

NOINLINE static void nest(int depth) {
    try {
        if (depth == 0) throw Failure("the cause", 1);
        nest(depth - 1);
    } catch (...) {
        std::throw_with_nested(Failure("level " + std::to_string(depth), depth));
    }
}

static int depth_of(const std::exception &e) {
    try {
        std::rethrow_if_nested(e);
    } catch (const std::exception &inner) {
        return 1 + depth_of(inner);
    }
    return 0;
}

struct Member {
    Guard guard{"member"};
    explicit Member(bool fail) {
        if (fail) throw Failure("in a constructor", 3);
    }
};
struct Whole {
    Guard first{"first"};
    Member good{false};
    Member bad{true};
    Whole() try : first("first") {
    } catch (const Failure &failure) {
        std::printf("function try block: %s\n", failure.what());
    }
};

NOINLINE static std::string kind(const std::function<void()> &f) {
    try {
        f();
        return "nothing";
    } catch (int n) {
        return "int " + std::to_string(n);
    } catch (const char *text) {
        return std::string("text ") + text;
    } catch (const Left &left) {
        return std::string("Left ") + (typeid(left) == typeid(Both) ? "of Both" : "alone");
    } catch (const Right &right) {
        return "Right " + std::to_string(right.b);
    } catch (const Failure &failure) {
        return "Failure " + std::to_string(failure.code);
    } catch (const std::logic_error &e) {
        return std::string("logic_error ") + e.what();
    } catch (const std::exception &e) {
        return std::string("exception ") + e.what();
    } catch (const std::unique_ptr<int> &pointer) {
        return "unique_ptr " + std::to_string(*pointer);
    } catch (...) {
        return "something else";
    }
}

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};
struct Circle : Shape {
    double r;
    explicit Circle(double r) : r(r) {}
    double area() const override {
        if (r < 0) throw std::domain_error("a negative radius");
        return 3 * r * r;
    }
};

// A parser that gives up by throwing from the depth of its recursion.
struct Parser {
    const std::string &text;
    std::size_t at = 0;
    explicit Parser(const std::string &text) : text(text) {}
    [[noreturn]] void fail(const char *what) { throw Failure(what, static_cast<int>(at)); }
    char peek() { return at < text.size() ? text[at] : '\0'; }
    long sum() {
        long value = product();
        while (peek() == '+' || peek() == '-') value += text[at++] == '+' ? product() : -product();
        return value;
    }
    long product() {
        long value = atom();
        while (peek() == '*' || peek() == '/') {
            if (text[at++] == '*') {
                value *= atom();
            } else if (long by = atom()) {
                value /= by;
            } else {
                throw std::domain_error("division by zero");
            }
        }
        return value;
    }
    long atom() {
        Guard guard("atom");
        if (peek() == '(') {
            at++;
            long value = sum();
            if (peek() != ')') fail("no )");
            at++;
            return value;
        }
        if (peek() == '-') return at++, -atom();
        if (peek() < '0' || peek() > '9') fail("no number");
        long value = 0;
        while (peek() >= '0' && peek() <= '9') value = value * 10 + (text[at++] - '0');
        return value;
    }
    long parse() {
        long value = sum();
        if (at != text.size()) fail("more text");
        return value;
    }
};

int main() {
    std::puts("== kinds");
    std::puts(kind([] {}).c_str());
    std::puts(kind([] { throw 42; }).c_str());
    std::puts(kind([] { throw "a literal"; }).c_str());
    std::puts(kind([] { throw Left(); }).c_str());
    std::puts(kind([] { throw Right(); }).c_str());
    std::puts(kind([] { throw Both(); }).c_str());
    std::puts(kind([] { throw Failure("f", 9); }).c_str());
    std::puts(kind([] { throw Secret(); }).c_str());
    std::puts(kind([] { throw std::invalid_argument("argument"); }).c_str());
    std::puts(kind([] { throw std::bad_alloc(); }).c_str());
    std::puts(kind([] { throw std::make_unique<int>(6); }).c_str());
    std::puts(kind([] { throw 1.5; }).c_str());
    std::puts(kind([] { (void)std::vector<int>(3).at(5); }).substr(0, 11).c_str());
    std::puts(kind([] { (void)std::get<int>(std::variant<int, char>('x')); }).c_str());
    std::puts(kind([] { (void)std::optional<int>().value(); }).c_str());
    std::puts(kind([] { std::function<void()>()(); }).c_str());
    Left *left = nullptr;
    std::puts(kind([&] { (void)typeid(*left); }).c_str());
    std::puts(kind([&] { (void)dynamic_cast<Both &>(*std::make_unique<Left>()); }).c_str());
    std::printf("alive: %d\n", alive);

    std::puts("== frames");
    for (int depth : {0, 1, 2, 10, 100, 1000}) {
        try {
            std::printf("returned %d\n", descend(depth, depth * 3));
        } catch (const Failure &failure) {
            std::printf("%d: %s, %d, alive %d\n", depth, failure.what(), failure.code, alive);
        }
    }
    for (int depth : {1, 10, 300}) {
        int handlers = 0;
        try {
            rethrow(depth, handlers);
        } catch (const std::runtime_error &e) {
            std::printf("%d: %s, %d in handlers, alive %d\n", depth, e.what(), handlers, alive);
        }
    }
    try {
        replace(30);
    } catch (const std::logic_error &e) {
        std::puts(e.what());
    }
    try {
        nest(12);
    } catch (const std::exception &e) {
        std::printf("%s, nested %d deep\n", e.what(), depth_of(e));
    }

    std::puts("== objects");
    try {
        Whole whole;
    } catch (const Failure &failure) {
        std::printf("%s, alive %d\n", failure.what(), alive);
    }
    try {
        std::unique_ptr<Member[]> members(static_cast<Member *>(nullptr));
        std::vector<Member> some;
        for (int i = 0; i < 10; i++) some.emplace_back(i == 6);
    } catch (const Failure &failure) {
        std::printf("emplaced until %s, alive %d\n", failure.what(), alive);
    }
    std::vector<std::unique_ptr<Shape>> shapes;
    for (double r : {1.0, 2.0, -1.0, 3.0}) shapes.push_back(std::make_unique<Circle>(r));
    for (auto &shape : shapes) {
        try {
            std::printf("area %g\n", shape->area());
        } catch (const std::domain_error &e) {
            std::printf("area: %s\n", e.what());
        }
    }
    std::vector<int> numbers(1000);
    for (int i = 0; i < 1000; i++) numbers[i] = (i * 7919) % 1000;
    int compared = 0;
    try {
        std::sort(numbers.begin(), numbers.end(), [&](int a, int b) {
            if (++compared == 5000) throw compared;
            return a < b;
        });
    } catch (int n) {
        std::sort(numbers.begin(), numbers.end());
        std::printf("sorting stopped after %d comparisons; %d %d\n", n, numbers[0], numbers[999]);
    }

    std::puts("== kept");
    std::vector<std::exception_ptr> kept;
    for (int i = 0; i < 5; i++) {
        try {
            descend(i, i);
        } catch (...) {
            kept.push_back(std::current_exception());
        }
    }
    std::reverse(kept.begin(), kept.end());
    for (int round = 0; round < 2; round++) {
        for (auto &it : kept) {
            try {
                std::rethrow_exception(it);
            } catch (const Failure &failure) {
                std::printf("%d", failure.code);
            }
        }
    }
    std::printf(" uncaught %d\n", std::uncaught_exceptions());
    struct Watch {
        ~Watch() {
            std::printf("uncaught while unwinding: %d", std::uncaught_exceptions());
            // Inside a destructor that runs for an exception, another one comes and goes.
            try {
                throw Failure("inner", 2);
            } catch (const Failure &failure) {
                std::printf(", then %s\n", failure.what());
            }
        }
    };
    try {
        Watch watch;
        throw Failure("outer", 1);
    } catch (const Failure &failure) {
        std::printf("%s\n", failure.what());
    }

    std::puts("== parser");
    for (const std::string text : {"1+2*3", "(1+2)*3", "2*(3+4", "8/(4-2*2)", "1+", "--5*-(2)", "7)", "((((((((9))))))))"}) {
        try {
            std::printf("%s = %ld\n", text.c_str(), Parser(text).parse());
        } catch (const Failure &failure) {
            std::printf("%s: %s at %d\n", text.c_str(), failure.what(), failure.code);
        } catch (const std::exception &e) {
            std::printf("%s: %s\n", text.c_str(), e.what());
        }
    }
    std::printf("alive: %d\n", alive);

    std::puts("== many");
    std::uint64_t sum = 0;
    std::map<int, int> codes;
    for (int i = 0; i < 20000; i++) {
        try {
            sum += descend(i % 12, i % 17);
        } catch (const Failure &failure) {
            sum = sum * 31 + failure.code;
            codes[failure.code]++;
        }
    }
    std::printf("%016llx, %zu codes, alive %d\n", static_cast<unsigned long long>(sum), codes.size(), alive);
}
