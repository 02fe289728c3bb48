#!/bin/sh
# Boots a Linux kernel under QEMU's software emulation and records its memory accesses with libgpa_capture.so.
#
#   sh traces/capture/boot.sh OUT KERNEL BUSYBOX
#
# OUT      the file of records, for `eptreplay import qemu-plugin`
# KERNEL   a bzImage, such as /boot/vmlinuz-* of Debian's linux-image-amd64
# BUSYBOX  a static busybox, such as /bin/busybox of Debian's busybox-static
#
# Settings, all optional:
#   QEMU=qemu-system-x86_64   PLUGIN=build/libgpa_capture.so   MEMORY=256 (MiB)   VCPUS=1   SECONDS_MOST=120
#   SKIP=0   accesses before the first that is recorded      LIMIT=20000000   records at most, of 16 bytes each
#   STOP=on  end the guest when LIMIT is reached
#   WORK     shell commands that the guest runs once it is up      QEMU_MORE   further options of QEMU
set -eu

if [ $# -ne 3 ]; then
  echo "usage: sh $0 OUT KERNEL BUSYBOX" >&2
  exit 2
fi
out=$1 kernel=$2 busybox=$3
QEMU=${QEMU:-qemu-system-x86_64}
PLUGIN=${PLUGIN:-build/libgpa_capture.so}
MEMORY=${MEMORY:-256}
VCPUS=${VCPUS:-1}
SKIP=${SKIP:-0}
LIMIT=${LIMIT:-20000000}
STOP=${STOP:-on}
SECONDS_MOST=${SECONDS_MOST:-120}
WORK=${WORK:-dd if=/dev/zero of=/tmp/file bs=64k count=256; cat /tmp/file >/dev/null}

for file in "$kernel" "$busybox" "$PLUGIN"; do
  if [ ! -f "$file" ]; then
    echo "boot.sh: $file: there is no such file; 'make capture' builds the plugin, docs/capture.md says where the others come from" >&2
    exit 2
  fi
done
version=$("$QEMU" --version | sed -n 's/.*version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p;q')
if [ -z "$version" ]; then
  echo "boot.sh: $QEMU: this is no QEMU" >&2
  exit 2
fi
set -- $version
# Before 8.2 the interface calls an offset in RAM a physical address (docs/capture.md).
address=physical
if [ "$1" -lt 8 ] || { [ "$1" -eq 8 ] && [ "$2" -lt 2 ]; }; then
  address=ram
fi
# Machine pc has all memory below 4 GiB if it is less than 3.5 GiB, and else 3 GiB of it.
ram=$((MEMORY * 1048576))
below=$ram
if [ "$ram" -ge $((0xe0000000)) ]; then
  below=$((0xc0000000))
fi

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# So that the folder goes when the script is interrupted, too.
trap 'exit 130' INT TERM
mkdir -p "$tree/root/bin" "$tree/root/proc" "$tree/root/sys" "$tree/root/dev" "$tree/root/tmp"
cp "$busybox" "$tree/root/bin/busybox"
cat >"$tree/root/init" <<INIT
#!/bin/busybox sh
/bin/busybox mkdir -p /usr/bin /sbin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
echo boot.sh: guest is up
$WORK
echo boot.sh: guest is done
poweroff -f
INIT
chmod 755 "$tree/root/init" "$tree/root/bin/busybox"
# A busybox has a cpio of its own where the machine has none.
pack() { if command -v cpio >/dev/null; then cpio -o -H newc; else "$busybox" cpio -o -H newc; fi; }
(cd "$tree/root" && find . | pack 2>/dev/null) >"$tree/initrd"

status=0
timeout "$SECONDS_MOST" "$QEMU" \
  -machine pc,memory-backend=ram,accel=tcg -cpu qemu64 -smp "$VCPUS" -m "$MEMORY" \
  -object "memory-backend-memfd,id=ram,size=${MEMORY}M,share=on" \
  -nodefaults -nographic -no-reboot -serial stdio -monitor none ${QEMU_MORE:-} \
  -kernel "$kernel" -initrd "$tree/initrd" -append "console=ttyS0 panic=-1 nokaslr" \
  -plugin "$PLUGIN,out=$out,ram=$ram,below4g=$below,address=$address,skip=$SKIP,limit=$LIMIT,stop=$STOP" \
  </dev/null || status=$?
if [ "$status" -eq 124 ]; then
  echo "boot.sh: the guest was ended after $SECONDS_MOST s (SECONDS_MOST); what was recorded until then is whole" >&2
elif [ "$status" -ne 0 ]; then
  echo "boot.sh: QEMU ended with code $status" >&2
  exit 1
fi
