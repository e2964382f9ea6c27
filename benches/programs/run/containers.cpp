// The containers and algorithms of C++'s library: an index of words, a simulation of events, and sets of tuples.
#include "program.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace {

std::string make_text() {
  static const char *const syllables[] = {"ka", "lo", "mi", "ner", "tu", "vas", "o", "rin", "pel", "sha"};
  std::string text;
  for (int i = 0; i < 20000; i++) {
    for (uint32_t j = 1 + random_below(3); j; j--) text += syllables[random_below(COUNT(syllables))];
    text += random_below(12) ? " " : "\n";
  }
  return text;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find_first_of(separators), text.size());
    if (end) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// Words in order, each with where it is.
uint64_t index_words() {
  std::string text = make_text();
  std::map<std::string, std::vector<int>, std::less<>> places;
  std::unordered_map<std::string_view, int> counts;
  int at = 0;
  for (std::string_view word : split(text, " \n")) {
    auto place = places.find(word);
    if (place == places.end()) place = places.emplace(std::string(word), std::vector<int>()).first;
    place->second.push_back(at++);
    counts[word]++;
  }
  std::vector<std::pair<std::string_view, int>> frequent(counts.begin(), counts.end());
  std::sort(frequent.begin(), frequent.end(), [](const auto &a, const auto &b) { return std::tie(b.second, a.first) < std::tie(a.second, b.first); });
  uint64_t hash = 0;
  for (const auto &[word, count] : frequent) hash = mix(mix_bytes(hash, word.data(), word.size()), uint64_t(count));
  for (const auto &[word, where] : places) {
    auto middle = std::lower_bound(where.begin(), where.end(), at / 2);
    hash = mix(mix_bytes(hash, word.data(), word.size()), uint64_t(middle - where.begin()));
  }
  return hash;
}

// Customers come, wait in a shop with three tills, and leave.
uint64_t simulate_shop() {
  struct Event {
    uint32_t time, number;
    std::function<void()> happen;
    bool operator<(const Event &other) const { return std::tie(other.time, other.number) < std::tie(time, number); }
  };
  std::priority_queue<Event> events;
  std::deque<uint32_t> waiting;
  uint32_t now = 0, number = 0, free_tills = 3, served = 0;
  uint64_t waited = 0;
  auto at = [&](uint32_t delay, std::function<void()> happen) { events.push({now + delay, number++, std::move(happen)}); };
  std::function<void()> serve = [&] {
    while (free_tills && !waiting.empty()) {
      free_tills--;
      waited += now - waiting.front();
      waiting.pop_front();
      at(20 + random_below(60), [&] {
        free_tills++;
        served++;
        serve();
      });
    }
  };
  std::function<void()> arrive = [&] {
    waiting.push_back(now);
    if (number < 10000) at(1 + random_below(32), arrive);
    serve();
  };
  at(0, arrive);
  while (!events.empty()) {
    Event event = events.top();
    events.pop();
    now = event.time;
    event.happen();
  }
  return mix(mix(waited, served), now);
}

uint64_t use_sets() {
  std::set<std::tuple<int, int, int>> points;
  std::vector<std::unique_ptr<std::vector<int>>> rows;
  for (int i = 0; i < 5000; i++) points.emplace(random_below(30), random_below(30), random_below(30));
  for (int i = 0; i < 30; i++) {
    auto row = std::make_unique<std::vector<int>>();
    for (auto at = points.lower_bound({i, 0, 0}); at != points.end() && std::get<0>(*at) == i; ++at)
      row->push_back(std::get<1>(*at) * std::get<2>(*at));
    std::sort(row->begin(), row->end());
    row->erase(std::unique(row->begin(), row->end()), row->end());
    rows.push_back(std::move(row));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) { return a->size() < b->size(); });
  uint64_t hash = points.size();
  for (const auto &row : rows) {
    std::rotate(row->begin(), row->begin() + ptrdiff_t(row->size() / 3), row->end());
    hash = mix(hash, uint64_t(std::accumulate(row->begin(), row->end(), row->front())));
  }
  return hash;
}

}  // namespace

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(28);
  for (int round = 0; round < n; round++) {
    hash = mix(hash, index_words());
    hash = mix(hash, simulate_shop());
    hash = mix(hash, use_sets());
  }
  return checksum(hash);
}
