// Everything in the file, as `quell probe` and `quell inspect` look at it.
#include "framework/io/hdf5_reader.h"

#include "framework/base/error.h"
#include "fuzz/fuzz.h"

namespace {

// What is damaged leaves the rest readable.
template <class Read>
void attempt(const Read& read) {
  try {
    read();
  } catch (const quell::DataError&) {
  }
}

// At most `left` objects: a group may hold itself, more than once.
void read_all(const quell::Hdf5Reader& file, const std::string& group, int& left) {
  for (const std::string& child : file.children(group)) {
    if (left-- <= 0) return;
    const std::string path = group == "/" ? child : group + "/" + child;
    attempt([&] {
      for (const std::string& name : file.attribute_names(path)) {
        attempt([&] { file.read_attribute(path, name); });
      }
    });
    attempt([&] {
      if (file.is_group(path)) return read_all(file, path, left);
      attempt([&] { file.read_tensor(path); });
      file.read_texts(path);
    });
  }
}

}  // namespace

QUELL_FUZZ(hdf5) {
  const quell::Hdf5Reader file(quell::fuzz::as_file(input, "results.h5"));
  int left = 100;
  read_all(file, "/", left);
  file.leaves("/");
}
