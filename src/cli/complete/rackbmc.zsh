#compdef rackbmc
# Completion of rackbmc for zsh: put it into a directory of $fpath as _rackbmc, or `source` it behind compinit.
_rackbmc() {
    local line value help tab=$'\t'
    local -a plain told shown open
    for line in "${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        value=${line%%$tab*}
        [[ -n $value ]] || continue
        if [[ $value == *[=/] ]]; then
            open+=("$value")
        elif [[ $line == *$tab* ]]; then
            told+=("$value")
            shown+=("${(r:24:)value} ${line#*$tab}")
        else
            plain+=("$value")
        fi
    done
    (($#told)) && compadd -V told -l -d shown -a told
    (($#plain)) && compadd -V plain -a plain
    (($#open)) && compadd -V open -S '' -a open
}
if [[ ${funcstack[1]} == _rackbmc ]]; then
    _rackbmc "$@"
else
    compdef _rackbmc rackbmc
fi
