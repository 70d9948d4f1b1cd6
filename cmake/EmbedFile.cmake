# cmake -DFROM=FILE -DTO=FILE.c -DHEADER=NAME.h -DNAME=SYMBOL -P EmbedFile.cmake: a file as an array of bytes.
file(READ "${FROM}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
file(WRITE "${TO}" "#include \"${HEADER}\"\n\nconst char ${NAME}[] = {${bytes}};\nconst size_t ${NAME}_size = sizeof ${NAME};\n")
