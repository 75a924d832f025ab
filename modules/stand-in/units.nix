# Unit files from what `systemd.services` and the like say, as NixOS writes them, but for two things: what NixOS
# makes links of is here an [Install] section for `systemctl enable`, and `path`, which names packages of Nix, is
# left out.
{ lib }:
let
  show =
    value:
    if value == true then
      "true"
    else if value == false then
      "false"
    else
      toString value;
  assignments =
    attrs:
    lib.concatLists (
      lib.mapAttrsToList (
        name: value: map (one: "${name}=${show one}") (if lib.isList value then value else [ value ])
      ) attrs
    );
  section = name: lines: lib.optionals (lines != [ ]) ([ "[${name}]" ] ++ lines ++ [ "" ]);

  words = {
    Requires = "requires";
    Requisite = "requisite";
    Wants = "wants";
    BindsTo = "bindsTo";
    PartOf = "partOf";
    Conflicts = "conflicts";
    Before = "before";
    After = "after";
  };
  joined =
    unit:
    lib.filterAttrs (_: names: names != "") (
      lib.mapAttrs (_: word: lib.concatStringsSep " " (unit.${word} or [ ])) words
    );

  text =
    unit: own:
    lib.concatStringsSep "\n" (
      section "Unit" (
        assignments (
          lib.optionalAttrs (unit ? description) { Description = unit.description; }
          // joined unit
          // (unit.unitConfig or { })
        )
      )
      ++ own
      ++ section "Install" (map (target: "WantedBy=${target}") (unit.wantedBy or [ ]))
    );
in
{
  service =
    unit:
    text unit (
      section "Service" (
        lib.mapAttrsToList (name: value: "Environment=\"${name}=${value}\"") (unit.environment or { })
        ++ assignments unit.serviceConfig
      )
    );
  socket =
    unit:
    text unit (
      section "Socket" (
        map (address: "ListenStream=${address}") unit.listenStreams ++ assignments unit.socketConfig
      )
    );
  timer = unit: text unit (section "Timer" (assignments unit.timerConfig));
  path = unit: text unit (section "Path" (assignments unit.pathConfig));
}
