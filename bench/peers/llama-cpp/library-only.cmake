# Included where the project llama.cpp begins: its package asks for the code of the command line tools as well, which
# takes longer to compile than the library.
set(LLAMA_BUILD_COMMON OFF)
