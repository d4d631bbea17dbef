// Everything in the file, as `quell probe` and `quell inspect` look at it.
#include "framework/io/hdf5_reader.h"

#include "framework/base/error.h"
#include "fuzz/fuzz.h"

namespace {

void read_all(const quell::Hdf5Reader& file, const std::string& group, int depth) {
  for (const std::string& child : file.children(group)) {
    const std::string path = group == "/" ? child : group + "/" + child;
    try {
      for (const std::string& name : file.attribute_names(path)) file.read_attribute(path, name);
      if (!file.is_group(path)) {
        file.read_tensor(path);
      } else if (depth < 8) {
        read_all(file, path, depth + 1);
      }
    } catch (const quell::DataError&) {  // the others may be whole
    }
  }
}

}  // namespace

QUELL_FUZZ(hdf5) { read_all(quell::Hdf5Reader(quell::fuzz::as_file(input, "results.h5")), "/", 0); }
