# The addresses below that lib/ip.nix judges wrongly, by what they are; nothing is as it should be.
let
  inherit (import ../stand-in) lib;
  ip = import ../lib/ip.nix { inherit lib; };
  four = [
    "0.0.0.0"
    "192.0.2.53"
    "255.255.255.255"
  ];
  six = [
    "::"
    "::1"
    "1::"
    "2001:db8::53"
    "1:2:3:4:5:6:7:8"
    "1:2:3:4:5:6:7::"
    "::ffff:192.0.2.1"
    "1:2:3:4:5:6:192.0.2.1"
  ];
  none = [
    ""
    "192.0.2"
    "192.0.2.256"
    "192.0.2.01"
    "192.0.2.1.1"
    "192.0.2.0/24"
    "mcp.example"
    ":"
    ":::"
    "1:2"
    ":1"
    "1:"
    "1::2::3"
    "2001:db8:::53"
    "1:2:3:4:5:6:7::8"
    "1:2:3:4:5:6:7:8:9"
    "1:2:3:4:5:6:7:192.0.2.1"
    "::192.0.2.256"
    "192.0.2.1::"
    "12345::"
    "g::"
    "fe80::1%eth0"
    "[::1]"
  ];
  wrong =
    is:
    lib.filter (
      text:
      is != (
        if ip.isFour text then
          4
        else if ip.isSix text then
          6
        else
          0
      )
    );
in
toString (wrong 4 four ++ wrong 6 six ++ wrong 0 none)
