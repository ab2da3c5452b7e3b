# Completion of rackbmc for fish: put it into /usr/share/fish/vendor_completions.d/rackbmc.fish.
function __rackbmc_complete
    set -l words (commandline --cut-at-cursor --current-process --tokenize) (commandline --cut-at-cursor --current-token)
    command $words[1] __complete $words 2>/dev/null
end
complete --command rackbmc --no-files --keep-order --arguments '(__rackbmc_complete)'
