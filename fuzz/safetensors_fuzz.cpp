#include "framework/io/safetensors.h"

#include "fuzz/fuzz.h"

QUELL_FUZZ(safetensors) {
  const quell::SafetensorsFile file(quell::fuzz::as_file(input));
  for (const std::string& name : file.names()) file.read(name);
}
