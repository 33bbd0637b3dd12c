# Bars of answers a second from `martlet-versus --csv`: name,rate,ratio,… in, SVG out. The SVG brings
# colours for light and for dark pages.
BEGIN { FS = ","; rows = 0 }
NR == 1 { next }
{ name[rows] = $1; rate[rows] = $2; if ($2 > most) most = $2; rows++ }
END {
    width = 640; left = 110; right = 90; line = 26; top = 34
    height = top + rows * line + 24
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n", width, height
    print "<style>text{fill:#1f2328}.bar{fill:#8c959f}.own{fill:#0969da}" \
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.own{fill:#4493f8}}</style>"
    printf "<text x=\"0\" y=\"16\" font-weight=\"bold\">Answers a second on one core: %s</text>\n", title
    for (row = 0; row < rows; row++) {
        y = top + row * line
        bar = most > 0 ? rate[row] / most * (width - left - right) : 0
        printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", left - 8, y + 15, name[row]
        printf "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"18\" rx=\"2\"/>", \
            (name[row] == "martlet" ? "own" : "bar"), left, y + 1, bar
        printf "<text x=\"%.1f\" y=\"%d\">%d,000</text>\n", left + bar + 6, y + 15, rate[row] / 1000 + 0.5
    }
    printf "<text x=\"0\" y=\"%d\" font-size=\"11\">%s</text>\n</svg>\n", height - 6, note
}
