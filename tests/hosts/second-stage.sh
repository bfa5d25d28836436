# Sets up the packages of another processor: sh second-stage.sh TREE MACHINE, in a user namespace of its own.
# Its interpreter is registered in that namespace only, so no program outside is ever run by it.
set -eu
tree=$1
machine=$2
mount --make-rprivate /
mount --types binfmt_misc none /proc/sys/fs/binfmt_misc
case $machine in
aarch64) magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' ;;
*) echo "no magic is known for $machine" >&2; exit 1 ;;
esac
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
# F: opened now, so that it is found when the root is another
printf '%s\n' ":foreign:M::$magic:$mask:/usr/bin/qemu-$machine-static:F" >/proc/sys/fs/binfmt_misc/register
mount --rbind /dev "$tree/dev"
# "lxc": no device can be made in such a namespace, and none is needed
exec env container=lxc chroot "$tree" /debootstrap/debootstrap --second-stage
