#!/usr/bin/env bash
# Installs what a build needs: packages of Debian or Ubuntu, and LibTorch and Arrow from their Python
# wheels into $QUELL_CACHE. Quick when everything is there. LibTorch_ROOT names a LibTorch of your own;
# QUELL_CUDA=1 asks for the libraries that models on a GPU need; further packages may be named as
# arguments.
set -euo pipefail

packages=(
  build-essential cmake ninja-build ccache mold pkg-config git clang-format clang-tidy
  python3 python3-pip python3-h5py python3-yaml python3-jsonschema
  libyaml-cpp-dev libboost-program-options-dev libhdf5-dev libicu-dev libhwy-dev
  nlohmann-json3-dev libssl-dev libzip-dev libgtest-dev libgmock-dev libbenchmark-dev
  "$@"
)
cache=${QUELL_CACHE:-$HOME/.cache/quell}
torch_version=2.11.0
arrow_version=26.0.1
torch_wheels=("torch==$torch_version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# What its operations on GPUs need: with QUELL_CUDA=1.
cuda_wheels=(
  nvidia-cublas==13.1.0.3 nvidia-cuda-nvrtc==13.0.88 nvidia-cudnn-cu13==9.19.0.56
  nvidia-cufft==12.0.0.61 nvidia-cufile==1.15.1.6 nvidia-curand==10.4.0.35
  nvidia-cusolver==12.0.4.66 nvidia-cusparse==12.6.3.3 nvidia-cusparselt-cu13==0.8.0
  nvidia-nccl-cu13==2.28.9 nvidia-nvjitlink==13.0.88 nvidia-nvshmem-cu13==3.4.5
  nvidia-nvtx==13.0.85
)

missing=()
if command -v dpkg-query > /dev/null; then
  installed=$(dpkg-query -W -f '${Package} ${Status}\n' "${packages[@]}" 2> /dev/null |
    awk '$NF == "installed" {print $1}' || true)
  for package in "${packages[@]}"; do
    grep -qx "$package" <<< "$installed" || missing+=("$package")
  done
fi
if ((${#missing[@]})); then
  echo "Installing packages: ${missing[*]}"
  as_root=()
  if ((EUID != 0)); then
    command -v sudo > /dev/null || {
      echo "These packages are missing, and there is no sudo: install them as root." >&2
      exit 1
    }
    as_root=(sudo)
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null
fi

# wheels FOLDER WHEEL...: installs the wheels into a folder of the cache, whole or not at all.
wheels() {
  local folder=$cache/$1 partial
  shift
  mkdir -p "$cache"
  partial=$(mktemp -d "$folder.XXXXXX")
  # shellcheck disable=SC2064  # the folder as it is now
  trap "rm -rf '$partial'" EXIT
  python3 -m pip install --quiet --no-deps --no-compile --disable-pip-version-check \
    --root-user-action ignore --target "$partial" "$@" || return
  touch "$partial/.complete"
  rm -rf "$folder"
  mv "$partial" "$folder"
}

if [[ -z ${LibTorch_ROOT:-} ]]; then
  torch=libtorch-$torch_version
  if [[ ${QUELL_CUDA:-} == 1 && ! -e $cache/$torch/.cuda ]]; then
    echo "Installing LibTorch $torch_version with its CUDA libraries into $cache (a download of 2.4 GB)"
    wheels "$torch" "${torch_wheels[@]}" "${cuda_wheels[@]}"
    touch "$cache/$torch/.cuda"
  elif [[ ! -e $cache/$torch/.complete ]]; then
    echo "Installing LibTorch $torch_version into $cache (a download of 530 MB)"
    # Only the libraries that libtorch_cpu.so names.
    wheels "$torch" "${torch_wheels[@]}"
  fi
fi

# For Parquet files; everything else works without it.
if [[ ! -e $cache/pyarrow-$arrow_version/.complete ]]; then
  echo "Installing Arrow $arrow_version into $cache (a download of 50 MB)"
  PIP_RETRIES=1 wheels "pyarrow-$arrow_version" "pyarrow==$arrow_version" ||
    echo "Arrow could not be installed: Parquet files will be refused." >&2
fi
