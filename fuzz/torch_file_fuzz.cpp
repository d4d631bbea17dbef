// pytorch_model.bin: zip files and the older row of pickles.
#include "framework/io/torch_file.h"

#include "fuzz/fuzz.h"

QUELL_FUZZ(torch_file) {
  const quell::TorchFile file(quell::fuzz::as_file(input));
  for (const std::string& name : file.names()) file.read(name);
}
