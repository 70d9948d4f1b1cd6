typedef int multipart_unused;
