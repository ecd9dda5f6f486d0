// Counts lines, words and bytes of the request's body: a WASI command, called like CGI.
#include <ctype.h>
#include <stdio.h>

int main(void) {
    unsigned long lines = 0, words = 0, bytes = 0;
    int inside = 0;
    for (int c = getchar(); c != EOF; c = getchar()) {
        bytes++;
        lines += c == '\n';
        if (isspace(c)) {
            inside = 0;
        } else if (!inside) {
            inside = 1;
            words++;
        }
    }
    printf("Content-Type: application/json\r\n\r\n");
    printf("{\"lines\":%lu,\"words\":%lu,\"bytes\":%lu}\n", lines, words, bytes);
    return 0;
}
