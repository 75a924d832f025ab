# How each service is confined. `strictest` is what systemd has to give; each service starts from it, and each
# line that is less strict says why. `systemd-analyze security` rates the result: docs/OPERATIONS.md.
{ lib }:
let
  strictest = {
    AmbientCapabilities = "";
    CapabilityBoundingSet = "";
    DevicePolicy = "closed";
    IPAddressDeny = "any";
    KeyringMode = "private";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateIPC = true;
    PrivateMounts = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictAddressFamilies = [ "AF_UNIX" ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SocketBindDeny = "any";
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged @resources"
    ];
    UMask = "0077";
  };

  without = names: attrs: builtins.removeAttrs attrs names;

  # IPAddressDeny= knows addresses, no names: with a name, the egress table alone says where to.
  internet = {
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_UNIX"
    ];
    # boot_id is read, which is not below /proc/PID.
    ProcSubset = "all";
  };
in
{
  inherit strictest;

  # What connects and does not listen. `addresses` that it may talk to, if all are known before it starts; else null.
  client =
    { addresses }:
    (if addresses == null then without [ "IPAddressDeny" ] strictest else strictest)
    // internet
    // lib.optionalAttrs (addresses != null) { IPAddressAllow = addresses; };

  # `triesOnce`: it tells systemd-boot to try a system once.
  executor =
    { triesOnce }:
    without [
      # Root of the machine, not of a user namespace: it restarts units and loads rulesets.
      "PrivateUsers"
      # It reads the headers of encrypted volumes; DeviceAllow= narrows that.
      "PrivateDevices"
      # It would hide whether the clock is synchronised. Without CAP_SYS_TIME nobody sets the clock.
      "ProtectClock"
      # What hides other processes also hides PID 1, whose table of mounts is the machine's.
      "ProtectProc"
      # Hidden from /proc would be the table of swap areas.
      "ProcSubset"
      # It refuses openat2, with which files are opened without following links.
      "RestrictSUIDSGID"
    ] strictest
    // {
      # The ruleset, and status files and archives of backups that other users own.
      CapabilityBoundingSet = [
        "CAP_DAC_READ_SEARCH"
        "CAP_NET_ADMIN"
      ]
      # The kernel protects the firmware's variables with the immutable flag.
      ++ lib.optional triesOnce "CAP_LINUX_IMMUTABLE";
      # Headers of encrypted volumes, for reading.
      DeviceAllow = [ "block-* r" ];
      # Backups may lie there.
      ProtectHome = "read-only";
      # The kernel's ruleset and its notices of changes. It has no IP at all.
      RestrictAddressFamilies = [
        "AF_NETLINK"
        "AF_UNIX"
      ];
      # Whether the clock is synchronised is asked with adjtimex.
      SystemCallFilter = strictest.SystemCallFilter ++ [ "adjtimex clock_adjtime" ];
      # Roots of the garbage collector, the system profile, the lock of a switch.
      ReadWritePaths = [
        "-/nix/var/nix/gcroots"
        "-/nix/var/nix/profiles"
        "-/run/nixos"
      ]
      ++ lib.optional triesOnce "-/sys/firmware/efi/efivars";
    };

  # Keeps the agent's egress table.
  egress =
    without [
      # Names are asked for, of whichever resolver.
      "IPAddressDeny"
      # The table is of the machine's network namespace, which its user namespace owns.
      "PrivateUsers"
    ] strictest
    // {
      AmbientCapabilities = [ "CAP_NET_ADMIN" ];
      CapabilityBoundingSet = [ "CAP_NET_ADMIN" ];
      RestrictAddressFamilies = [
        "AF_INET"
        "AF_INET6"
        "AF_NETLINK"
        "AF_UNIX"
      ];
    };

  # `ports` that it listens on.
  mcp =
    { ports }:
    without [
      # Appliances come from anywhere; who they are, their certificates say.
      "IPAddressDeny"
    ] strictest
    // internet
    // {
      SocketBindAllow = map (port: "tcp:${toString port}") ports;
    };

  # Programs of the machine's that are run as root for one small thing.
  root = without [
    # Root of the machine, not of a user namespace.
    "PrivateUsers"
  ] strictest;
}
