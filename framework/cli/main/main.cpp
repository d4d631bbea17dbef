#include "framework/base/instruction_sets.h"
#include "framework/cli/verb.h"

int main(int argc, char** argv) {
  quell::fix_instruction_sets();
  return quell::run_program(quell::Arguments(argv + 1, argv + argc));
}
