#include "framework/cli/verb.h"

int main(int argc, char** argv) {
  return quell::run_program(quell::Arguments(argv + 1, argv + argc));
}
