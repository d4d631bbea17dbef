// What an engine makes of each weight once, and keeps as long as the weight stays as it is.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <tuple>
#include <utility>
#include <vector>

namespace quell {

// Several threads may call it at once. `Made` has bytes().
template <class Made>
class MadeOfWeights {
 public:
  // What was made of a weight, or make() where it is new, was written into, or where the object of
  // `stamp`, if any, is gone. `variant`: of several that are made of one weight.
  template <class Make>
  std::shared_ptr<const Made> get(const at::Tensor& weight, const std::weak_ptr<const void>& stamp,
                                  int64_t variant, const Make& make) const {
    const Key key{weight.const_data_ptr(), stamp.lock().get(), variant};
    {
      const std::shared_lock lock(mutex_);
      if (auto known = find(key, weight)) return known;
    }
    const std::unique_lock lock(mutex_);
    if (auto known = find(key, weight)) return known;  // another thread was faster
    std::erase_if(entries_, [](const auto& entry) { return entry.second.gone(); });
    std::shared_ptr<const Made> made = make();
    entries_.insert_or_assign(key, Entry(weight, stamp, std::get<1>(key) != nullptr, made));
    return made;
  }

  // What was made of a weight; null: nothing was.
  std::shared_ptr<const Made> known(const at::Tensor& weight) const {
    const std::shared_lock lock(mutex_);
    return find({weight.const_data_ptr(), nullptr, 0}, weight);
  }

  // Gives `instead`, of the same shape, what was made of a weight, which may go then. False, and
  // nothing changes, where nothing was made of it, or suits(made) is false of a part.
  template <class Suits>
  bool move(const at::Tensor& weight, const at::Tensor& instead, const Suits& suits) const {
    const std::unique_lock lock(mutex_);
    std::map<Key, Entry> moved;
    for (const auto& [key, entry] : entries_) {
      const auto& [data, stamp, variant] = key;
      if (data != weight.const_data_ptr() || find(key, weight) == nullptr) continue;
      if (!suits(*entry.made)) return false;
      moved.emplace(Key{instead.const_data_ptr(), stamp, variant},
                    Entry(instead, entry.stamp, entry.has_stamp, entry.made));
    }
    std::erase_if(entries_, [&](const auto& entry) {
      return std::get<0>(entry.first) == weight.const_data_ptr() && !moved.empty();
    });
    const bool any = !moved.empty();
    entries_.merge(moved);
    return any;
  }

  int64_t bytes() const {
    const std::shared_lock lock(mutex_);
    int64_t bytes = 0;
    for (const auto& [key, entry] : entries_) bytes += entry.made->bytes();
    return bytes;
  }

 private:
  // Where the values lie, the stamp, the variant.
  using Key = std::tuple<const void*, const void*, int64_t>;

  struct Entry {
    Entry(const at::Tensor& weight, std::weak_ptr<const void> with_stamp, bool stamped,
          std::shared_ptr<const Made> what)
        : storage(weight.storage().getWeakStorageImpl()),
          stamp(std::move(with_stamp)),
          has_stamp(stamped),
          version(weight._version()),
          sizes(weight.sizes().vec()),
          made(std::move(what)) {}

    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
    std::weak_ptr<const void> stamp;
    bool has_stamp;
    int64_t version;
    std::vector<int64_t> sizes;
    std::shared_ptr<const Made> made;

    bool gone() const { return storage.expired() || (has_stamp && stamp.expired()); }
  };

  std::shared_ptr<const Made> find(const Key& key, const at::Tensor& weight) const {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return nullptr;
    const Entry& entry = found->second;
    const bool same =
        !entry.gone() && entry.version == weight._version() && weight.sizes() == entry.sizes;
    return same ? entry.made : nullptr;
  }

  mutable std::shared_mutex mutex_;
  mutable std::map<Key, Entry> entries_;
};

}  // namespace quell
