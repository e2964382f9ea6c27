// Maps, slices, interfaces, closures, strings and garbage: a parser and evaluator of formulas in a sheet of cells, and trees that come
// and go.
package main

import (
	"fmt"
	"hash/fnv"
	"sort"
	"strconv"
	"strings"
)

type random uint64

func (r *random) below(limit uint32) uint32 {
	*r = *r*6364136223846793005 + 1442695040888963407
	return uint32(uint64(*r>>32) * uint64(limit) >> 32)
}

// A formula knows the sheet's cells by their names.
type formula interface {
	value(s *sheet) int64
	uses(names map[string]bool)
}

type number int64

type reference string

type sum []formula

type product []formula

type largest []formula

func (n number) value(*sheet) int64 { return int64(n) }

func (r reference) value(s *sheet) int64 { return s.value(string(r)) }

func (f sum) value(s *sheet) int64 {
	var total int64
	for _, part := range f {
		total += part.value(s)
	}
	return total
}

func (f product) value(s *sheet) int64 {
	total := int64(1)
	for _, part := range f {
		total = total * part.value(s) % 1000003
	}
	return total
}

func (f largest) value(s *sheet) int64 {
	most := int64(-1 << 63)
	for _, part := range f {
		if value := part.value(s); value > most {
			most = value
		}
	}
	return most
}

func (number) uses(map[string]bool) {}

func (r reference) uses(names map[string]bool) { names[string(r)] = true }

func usesOf(parts []formula, names map[string]bool) {
	for _, part := range parts {
		part.uses(names)
	}
}

func (f sum) uses(names map[string]bool)     { usesOf(f, names) }
func (f product) uses(names map[string]bool) { usesOf(f, names) }
func (f largest) uses(names map[string]bool) { usesOf(f, names) }

type sheet struct {
	formulas map[string]formula
	values   map[string]int64
}

func (s *sheet) value(name string) int64 {
	if value, known := s.values[name]; known {
		return value
	}
	f, found := s.formulas[name]
	if !found {
		return 0
	}
	value := f.value(s)
	s.values[name] = value
	return value
}

// parse takes `12`, `c7`, and `sum(…, …)`, `product(…)`, `largest(…)`.
func parse(text string) (formula, string, error) {
	end := strings.IndexAny(text, "(),")
	if end < 0 {
		end = len(text)
	}
	word, rest := text[:end], text[end:]
	if !strings.HasPrefix(rest, "(") {
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			return number(n), rest, nil
		}
		return reference(word), rest, nil
	}
	var parts []formula
	for {
		part, after, err := parse(rest[1:])
		if err != nil {
			return nil, "", err
		}
		parts = append(parts, part)
		rest = after
		if !strings.HasPrefix(rest, ",") {
			break
		}
	}
	if !strings.HasPrefix(rest, ")") {
		return nil, "", fmt.Errorf("%q: no end of the arguments", text)
	}
	switch word {
	case "sum":
		return sum(parts), rest[1:], nil
	case "product":
		return product(parts), rest[1:], nil
	case "largest":
		return largest(parts), rest[1:], nil
	}
	return nil, "", fmt.Errorf("no function %q", word)
}

// write makes a random formula of cells before the one with this index.
func write(r *random, out *strings.Builder, index uint32, depth int) {
	if depth == 0 || index == 0 {
		if index > 0 && r.below(3) > 0 {
			fmt.Fprintf(out, "c%d", r.below(index))
		} else {
			out.WriteString(strconv.Itoa(int(r.below(1000))))
		}
		return
	}
	out.WriteString([]string{"sum(", "product(", "largest("}[r.below(3)])
	for i := uint32(0); i <= r.below(3); i++ {
		if i > 0 {
			out.WriteByte(',')
		}
		write(r, out, index, depth-1)
	}
	out.WriteByte(')')
}

type tree struct {
	left, right *tree
	key         uint32
}

func (t *tree) insert(key uint32) *tree {
	switch {
	case t == nil:
		return &tree{key: key}
	case key < t.key:
		return &tree{t.left.insert(key), t.right, t.key}
	default:
		return &tree{t.left, t.right.insert(key), t.key}
	}
}

func (t *tree) walk(visit func(uint32)) {
	if t != nil {
		t.left.walk(visit)
		visit(t.key)
		t.right.walk(visit)
	}
}

func work(n int32) int64 {
	hash := fnv.New64a()
	r := random(33)
	for round := int32(0); round < n; round++ {
		s := sheet{map[string]formula{}, map[string]int64{}}
		for i := uint32(0); i < 1000; i++ {
			var text strings.Builder
			write(&r, &text, i, 3)
			f, rest, err := parse(text.String())
			if err != nil || rest != "" {
				return -1
			}
			s.formulas["c"+strconv.Itoa(int(i))] = f
		}
		used := map[string]bool{}
		names := make([]string, 0, len(s.formulas))
		for name, f := range s.formulas {
			f.uses(used)
			names = append(names, name)
		}
		sort.Slice(names, func(i, j int) bool {
			a, b := s.value(names[i]), s.value(names[j])
			return a < b || a == b && names[i] < names[j]
		})
		fmt.Fprintf(hash, "%s: %d used\n", strings.Join(names[:20], ", "), len(used))

		// Each insertion copies the way from the root.
		var t *tree
		for i := 0; i < 5000; i++ {
			t = t.insert(r.below(1 << 20))
		}
		position, total := uint64(0), uint64(0)
		t.walk(func(key uint32) {
			position++
			total += position * uint64(key)
		})
		fmt.Fprintln(hash, total)
	}
	return int64(hash.Sum64() >> 1)
}

func main() {}
