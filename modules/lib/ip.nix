# Addresses as the kernel and nft take them: without a name, a zone, a prefix or a port.
{ lib }:
let
  isOctet = text: builtins.match "0|[1-9][0-9]{0,2}" text != null && lib.toInt text <= 255;
  isFour =
    text:
    let
      octets = lib.splitString "." text;
    in
    lib.length octets == 4 && builtins.all isOctet octets;

  # How many groups of 16 bits a part of an address of version 6 has; null if it is none.
  groups =
    part: isEnd:
    let
      all = if part == "" then [ ] else lib.splitString ":" part;
      endsInFour = isEnd && all != [ ] && isFour (lib.last all);
      plain = lib.genList (builtins.elemAt all) (lib.length all - (if endsInFour then 1 else 0));
    in
    if builtins.all (group: builtins.match "[0-9a-fA-F]{1,4}" group != null) plain then
      lib.length all + (if endsInFour then 1 else 0)
    else
      null;
  isSix =
    text:
    let
      parts = lib.splitString "::" text;
      first = groups (builtins.head parts) (lib.length parts == 1);
      second = groups (lib.last parts) true;
    in
    if lib.length parts == 1 then
      first == 8
    else
      lib.length parts == 2 && first != null && second != null && first + second <= 7;
in
{
  inherit isFour isSix;
}
